import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax.masking import boundaries
from mlm_jax.masking import sampling
from mlm_jax.masking import weighted_sampling

# Each one program: it compiles faster than each of its operations.
exact_tokens, window_units, independent_tokens, independent_units, inclusion, pivotal_units = map(
  jax.jit,
  (
    sampling.exact_tokens,
    sampling.window_units,
    sampling.independent_tokens,
    sampling.independent_units,
    weighted_sampling.inclusion,
    weighted_sampling.pivotal_units,
  ),
)
RATES = (0.05, 0.15, 0.4, 0.8, 0.999)


def random_words(shape, seed=0):
  return np.random.default_rng(seed).integers(0, 2**32, shape, dtype=np.uint64).astype(np.uint32)


def random_units(rows, length, seed=0, longest=8):
  """Units of 1 to `longest` tokens with holes between."""
  g = np.random.default_rng(seed)
  units_BL = np.full((rows, length), -1, np.int32)
  for b in range(rows):
    i = 0
    while i < length:
      size = int(g.integers(1, longest + 1))
      if g.random() < 0.8:
        units_BL[b, i : i + size] = i
      i += size
  return units_BL


def lengths(units_BL):
  return np.asarray(boundaries.lengths(units_BL))


@pytest.mark.parametrize('length', (1, 2, 31, 32, 33, 100))
@pytest.mark.parametrize('rate', RATES)
def test_exact_tokens_are_the_smallest_words_of_a_row(rate, length):
  units_BL = random_units(40, length, longest=1)
  offset_B, select_BL = random_words(40), random_words((40, length), 1)
  chosen_BL = np.asarray(
    exact_tokens(np.full(len(units_BL), rate, np.float32), units_BL, offset_B, select_BL)
  )
  exact = fractions.Fraction(float(np.float32(rate)))
  low = (length - 1).bit_length()
  for b in range(40):
    maskable = np.flatnonzero(units_BL[b] >= 0)
    count = math.floor(exact * len(maskable) + fractions.Fraction(int(offset_B[b]), 2**32))
    score = [(int(select_BL[b, i]) >> (1 + low), i) for i in maskable]
    assert sorted(np.flatnonzero(chosen_BL[b])) == sorted(i for _, i in sorted(score)[:count])


def in_random_order(units_L, select_L, dropped_bits):
  """Returns [(first token, number of tokens), ...] by the words without their lowest bits."""
  firsts = [i for i in range(len(units_L)) if units_L[i] == i]
  order = sorted(firsts, key=lambda i: (int(select_L[i]) >> dropped_bits, i))
  return [(i, int(np.sum(units_L == i))) for i in order]


def window_by_loop(rate, units_L, offset, select_L):
  """The definition, with rational numbers."""
  low_bits = (len(units_L) - 1).bit_length()
  units = in_random_order(units_L, select_L, 1 + low_bits)
  n, start, chosen = int(np.sum(units_L >= 0)), 0, []
  begin = fractions.Fraction(n * int(offset), 2**32)
  size = n * fractions.Fraction(float(rate))
  for i, tokens in units:
    if (start - begin) % n < size:
      chosen.append(i)
    start += tokens
  return np.isin(units_L, chosen)


@pytest.mark.parametrize('length', (1, 7, 64, 1024))
@pytest.mark.parametrize('rate', (*RATES, 1.0))
def test_window_units_start_in_a_window_of_a_circle(rate, length):
  rows = 3 if length > 1000 else 40
  units_BL, select_BL, offset_B = (
    random_units(rows, length),
    random_words((rows, length)),
    random_words(rows, 2),
  )
  offset_B[:2] = 0, 2**32 - 1  # the window begins at a whole token, and as late as it can
  chosen_BL = np.asarray(
    window_units(np.full(rows, rate, np.float32), units_BL, offset_B, select_BL)
  )
  for b in range(rows):
    expected = window_by_loop(np.float32(rate), units_BL[b], offset_B[b], select_BL[b])
    assert np.array_equal(chosen_BL[b], expected)


def pivotal_by_loop(pi_L, units_L, offset, select_L, decide_L):
  """The definition, unit by unit: a list of what each holds, of which two are changed at a time."""
  length = len(units_L)
  bits = 31 - length.bit_length()
  units = in_random_order(units_L, select_L, (length - 1).bit_length())
  # The word of a play is that of the place in the row's order, units and other tokens alike.
  places = sorted(range(length), key=lambda i: (int(select_L[i]) >> (length - 1).bit_length(), i))
  holds = {i: tokens * int(float(pi_L[i]) * 2**bits) for i, tokens in units}
  whole = {i: tokens << bits for i, tokens in units}
  undecided = lambda i: 0 < holds[i] < whole[i]
  pivot = None
  for i, _ in units:
    if pivot is None or not undecided(pivot):
      pivot = i
      continue
    if not undecided(i):
      continue
    gain = min(whole[pivot] - holds[pivot], holds[i])
    loss = min(holds[pivot], whole[i] - holds[i])
    word = int(decide_L[places.index(i)])
    change = gain if word * (gain + loss) < loss << 32 else -loss
    holds[pivot] += change
    holds[i] -= change
    pivot = pivot if undecided(pivot) else i
  if pivot is not None and undecided(pivot):
    holds[pivot] = whole[pivot] * (whole[pivot] * int(offset) < holds[pivot] << 32)
  return np.isin(units_L, [i for i, _ in units if holds[i]])


@pytest.mark.parametrize('length', (1, 7, 64, 300))
def test_pivotal_units_are_played_for_in_pairs(length):
  rows = 3 if length > 100 else 40
  units_BL, offset_B = random_units(rows, length), random_words(rows, 2)
  select_BL, decide_BL = random_words((rows, length)), random_words((rows, length), 4)
  pi_BL = np.random.default_rng(3).random((rows, length)).astype(np.float32)
  pi_BL[:, ::5], pi_BL[:, 1::7] = 1, 0
  chosen_BL = np.asarray(pivotal_units(pi_BL, units_BL, offset_B, select_BL, decide_BL))
  for b in range(rows):
    expected = pivotal_by_loop(pi_BL[b], units_BL[b], offset_B[b], select_BL[b], decide_BL[b])
    assert np.array_equal(chosen_BL[b], expected)


@pytest.mark.parametrize('rate', RATES)
def test_fixed_counts_stay_within_the_longest_unit_of_the_budget(rate):
  units_BL, words_B = random_units(300, 64), random_words(300)
  select_BL, decide_BL = random_words((300, 64), 1), random_words((300, 64), 2)
  longest_B = lengths(units_BL).max(axis=1)
  rate_B = np.full(300, rate, np.float32)
  chosen_BL = np.asarray(window_units(rate_B, units_BL, words_B, select_BL))
  error_B = chosen_BL.sum(axis=1) - float(np.float32(rate)) * (units_BL >= 0).sum(axis=1)
  assert (np.abs(error_B) < longest_B).all()
  pi_BL = np.random.default_rng(3).random(units_BL.shape).astype(np.float32) * np.float32(rate)
  chosen_BL = np.asarray(pivotal_units(pi_BL, units_BL, words_B, select_BL, decide_BL))
  error_B = chosen_BL.sum(axis=1) - (pi_BL * lengths(units_BL)).sum(axis=1)
  assert (np.abs(error_B) < longest_B).all()


@pytest.mark.parametrize('kind', ('fixed_count', 'bernoulli'))
@pytest.mark.parametrize('rate', (0.05, 0.15, 0.8))
def test_every_unit_is_chosen_at_its_rate_whatever_its_length_and_place(rate, kind):
  """One row drawn 20,000 times; false-alarm rate below 1e-7 a case: |z| < 6 for each of some 15
  units.
  """
  times, length = 20_000, 64
  units_BL = np.repeat(random_units(1, length, seed=5), times, axis=0)
  pi_BL = np.full(units_BL.shape, rate, np.float32)
  select_BL = random_words(units_BL.shape, 1)
  if kind == 'fixed_count':
    chosen_BL = window_units(pi_BL[:, 0], units_BL, random_words(times), select_BL)
  else:
    chosen_BL = independent_units(pi_BL, units_BL, select_BL)
  firsts = np.flatnonzero(units_BL[0] == np.arange(length))
  assert len(set(lengths(units_BL[:1])[0][firsts])) >= 5
  seen = np.asarray(chosen_BL)[:, firsts].mean(axis=0)
  assert (np.abs(seen - rate) < 6 * np.sqrt(rate * (1 - rate) / times)).all()


def test_certain_units_are_always_chosen_and_impossible_ones_never():
  units_BL = random_units(50, 64)
  pi_BL = np.where(np.arange(64) % 2 == 0, 1.0, 0.0).astype(np.float32) * np.ones(
    (50, 1), np.float32
  )
  expected = (units_BL >= 0) & (units_BL % 2 == 0)
  words = random_words((50, 64))
  chosen_BL = pivotal_units(pi_BL, units_BL, random_words(50), words, random_words((50, 64), 1))
  assert np.array_equal(chosen_BL, expected)
  assert np.array_equal(independent_units(pi_BL, units_BL, words), expected)


@pytest.mark.parametrize('rate, everything', ((0.0, False), (1.0, True)))
def test_the_ends_of_the_rate_are_exact(rate, everything):
  units_BL = random_units(50, 64, longest=1)
  offset_B, select_BL = np.repeat([0, 2**32 - 1], 25).astype(np.uint32), random_words((50, 64))
  select_BL[:, ::3] = 0
  select_BL[:, 1::3] = 2**32 - 1
  rate_B = jnp.full(50, rate, jnp.float32)
  expected = (units_BL >= 0) & everything
  assert np.array_equal(exact_tokens(rate_B, units_BL, offset_B, select_BL), expected)
  assert np.array_equal(independent_tokens(rate_B, units_BL, select_BL), expected)


def test_a_unit_is_chosen_at_all_its_tokens():
  units_BL = random_units(50, 64)
  pi_BL = np.full(units_BL.shape, 0.4, np.float32)
  for chosen_BL in (
    window_units(pi_BL[:, 0], units_BL, random_words(50), random_words((50, 64))),
    pivotal_units(pi_BL, units_BL, random_words(50), *random_words((2, 50, 64))),
    independent_units(pi_BL, units_BL, random_words((50, 64))),
  ):
    at_first_BL = np.take_along_axis(np.asarray(chosen_BL), np.maximum(units_BL, 0), axis=1)
    assert np.array_equal(chosen_BL, at_first_BL & (units_BL >= 0))


def inclusion_by_hand(rate, weight_L, units_L):
  """min(1, c w), by letting the heaviest be certain one after the other; rational numbers."""
  firsts = [i for i in range(len(units_L)) if units_L[i] == i]
  size = {i: int(np.sum(units_L == i)) for i in firsts}
  heaviest = {i: fractions.Fraction(float(weight_L[units_L == i].max())) for i in firsts}
  order = sorted((i for i in firsts if heaviest[i] > 0), key=lambda i: -heaviest[i])
  budget = fractions.Fraction(float(rate)) * sum(size.values())
  pi_L = np.zeros(len(units_L))
  while order:
    total = sum(size[i] * heaviest[i] for i in order)
    if budget * heaviest[order[0]] < total:
      pi_L[order] = [float(budget * heaviest[i] / total) for i in order]
      break
    first = order.pop(0)
    pi_L[first], budget = 1, budget - size[first]
  return np.where(units_L >= 0, pi_L[np.maximum(units_L, 0)], 0)


def heavy_weights(shape, kind):
  g = np.random.default_rng(11)
  weight_BL = np.exp(2 * g.standard_normal(shape)).astype(np.float32)
  return {
    'heavy': weight_BL,
    'ties': np.ceil(weight_BL).clip(max=4),
    'zeros': np.where(weight_BL > 2, weight_BL, 0),
    'nothing': 0 * weight_BL,
    'equal': np.full(shape, 0.37, np.float32),
    'tiny': weight_BL * np.float32(1e-20),
  }[kind]


@pytest.mark.parametrize('kind', ('heavy', 'ties', 'zeros', 'nothing', 'equal', 'tiny'))
@pytest.mark.parametrize('rate', (0.0, 0.05, 0.3, 0.8, 1.0))
def test_inclusion_is_proportional_to_weight_up_to_certainty_and_keeps_the_budget(rate, kind):
  rate = np.float32(rate)
  units_BL = random_units(12, 50)
  weight_BL = heavy_weights(units_BL.shape, kind)
  pi_BL = np.asarray(inclusion(np.full(12, rate), weight_BL, units_BL))
  expected_BL = np.stack([inclusion_by_hand(rate, weight_BL[b], units_BL[b]) for b in range(12)])
  np.testing.assert_allclose(pi_BL, expected_BL, rtol=2e-5, atol=1e-6)
  feasible_B = ((units_BL >= 0) & (expected_BL > 0)).sum(axis=1) >= rate * (units_BL >= 0).sum(
    axis=1
  )
  if kind in ('heavy', 'equal', 'tiny', 'ties'):
    assert feasible_B.all()
    np.testing.assert_allclose(
      pi_BL.sum(axis=1), rate * (units_BL >= 0).sum(axis=1), rtol=1e-5, atol=1e-4
    )


def test_inclusion_is_the_same_at_any_scale_and_beside_any_row():
  units_BL, weight_BL = random_units(8, 50), heavy_weights((8, 50), 'heavy')
  pi_BL = np.asarray(inclusion(np.full(8, 0.3, np.float32), weight_BL, units_BL))
  scaled_BL = np.asarray(
    inclusion(np.full(8, 0.3, np.float32), weight_BL * np.float32(2**20), units_BL)
  )
  assert np.array_equal(scaled_BL, pi_BL)
  part = [6, 1]
  alone_BL = inclusion(np.full(2, 0.3, np.float32), weight_BL[part], units_BL[part])
  assert np.array_equal(alone_BL, pi_BL[part])


def test_weighted_samples_hold_each_units_probability():
  """One row drawn 20,000 times; false-alarm rate below 1e-7: |z| < 6 for each of some 15 units."""
  times, length = 20_000, 64
  one_1L, weight_1L = random_units(1, length, seed=5), heavy_weights((1, length), 'heavy')
  pi_L = np.asarray(inclusion(np.full(1, 0.3, np.float32), weight_1L, one_1L))[0]
  repeat = lambda x_1L: np.repeat(x_1L, times, axis=0)
  words_2BL = random_words((2, times, length), 1)
  chosen_BL = pivotal_units(repeat(pi_L[None]), repeat(one_1L), random_words(times), *words_2BL)
  firsts = np.flatnonzero(one_1L[0] == np.arange(length))
  seen, pi = np.asarray(chosen_BL)[:, firsts].mean(axis=0), pi_L[firsts].astype(np.float64)
  assert (
    np.abs(seen - pi) <= 6 * np.sqrt(pi * (1 - pi) / times)
  ).all() and 0.01 < pi.min() < 0.3 < pi.max()


def test_a_row_of_few_sentences_is_masked_in_many_ways():
  """Six sentences of unequal lengths, drawn 60 times: the sampler before this one, systematic over
  units sorted by length, gave seven.
  """
  size_U = np.array([9, 14, 20, 23, 27, 33])
  units_L = np.repeat(np.cumsum(size_U) - size_U, size_U).astype(np.int32)
  units_BL = np.repeat(units_L[None], 60, axis=0)
  rate_B = np.full(60, 0.3, np.float32)
  chosen_BL = window_units(rate_B, units_BL, random_words(60), random_words(units_BL.shape, 1))
  assert len(np.unique(np.asarray(chosen_BL), axis=0)) >= 12
