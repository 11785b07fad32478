import collections

import numpy as np
import pytest

from mlm_jax.data import pack

CLS, SEP, PAD = 2, 3, 0


def draw_lengths(seed, n=300, scale=20):
  return np.random.default_rng(seed).geometric(1 / scale, n)


def rows_of(plan, lengths, length, most):
  """Fills rows in uneven blocks with pieces that are all different."""
  begins = np.cumsum(lengths) - lengths
  pieces_T = np.arange(10, 10 + lengths.sum(), dtype=np.int32)
  cuts = sorted({0, plan.rows // 3, plan.rows // 2, plan.rows})
  parts = [pack.Part(plan, a, b, begins, length) for a, b in zip(cuts, cuts[1:])]
  return (
    np.concatenate([part.tokens(pieces_T, (CLS, SEP, PAD), np.int32) for part in parts]),
    np.concatenate([part.starts(most, np.int16) for part in parts]),
    pieces_T,
    begins,
  )


@pytest.mark.parametrize('planner', [pack.best_fit, pack.contiguous])
@pytest.mark.parametrize(
  'length, most, scale', [(8, 1, 3), (16, 3, 5), (32, 4, 40), (32, 8, 2), (33, 2, 200)]
)
def test_every_piece_is_once_in_a_well_formed_segment(planner, length, most, scale):
  lengths = draw_lengths(length + most, scale=scale)
  plan = planner(lengths, length, most)
  tokens_RL, starts_RS, pieces_T, begins = rows_of(plan, lengths, length, most)
  assert np.array_equal(np.sort(tokens_RL[tokens_RL >= 10]), pieces_T)
  document_T = np.searchsorted(begins, pieces_T - 10, side='right')
  for row, starts in zip(tokens_RL, starts_RS):
    used = starts[starts >= 0]
    assert len(used) and used[0] == 0 and (starts[len(used) :] == -1).all()
    at = 0
    for start, end in zip(used, [*used[1:], (row != PAD).sum()]):
      assert start == at and row[start] == CLS and row[end - 1] == SEP and end - start > 2
      inside = row[start + 1 : end - 1]
      assert (np.diff(inside) == 1).all() and len(set(document_T[inside - 10])) == 1
      at = end
    assert (row[at:] == PAD).all()


def naive_best_fit(sizes, length, most):
  """One segment after another, longest first, into the fullest row that takes it."""
  rows = []
  for size in sorted(sizes, reverse=True):
    fitting = [row for row in rows if sum(row) + size <= length and len(row) < most]
    if fitting:
      max(fitting, key=sum).append(size)
    else:
      rows.append([size])
  return collections.Counter(map(sum, rows))


@pytest.mark.parametrize('seed', range(12))
@pytest.mark.parametrize('most', [3, 50])
def test_best_fit_makes_the_rows_of_best_fit_decreasing(seed, most):
  lengths = draw_lengths(seed, n=200, scale=[4, 10, 25][seed % 3])
  plan = pack.best_fit(lengths, 32, most)
  sizes = collections.Counter(np.bincount(plan.row_N, plan.pieces_N + 2).astype(int).tolist())
  naive = naive_best_fit((pack.cut(lengths, 32)[2] + 2).tolist(), 32, most)
  if most == 50:
    assert sizes == naive
  else:  # Which of two rows equally full takes a segment is a free choice, and matters here.
    assert abs(sizes.total() - naive.total()) <= 1


def test_best_fit_cost_does_not_grow_with_the_number_of_documents():
  lengths = np.repeat(np.arange(1, 60), 10_000)
  histogram = np.bincount(lengths + 2, minlength=65)
  kinds = pack._best_fit_kinds(histogram, 64, 8)
  assert len(kinds) < 400
  assert sum(count * sum(kind) for kind, count in kinds) == (histogram * np.arange(65)).sum()


def test_the_ceiling_is_never_passed_and_can_be_reached():
  for seed in range(20):
    lengths = draw_lengths(seed, scale=[2, 8, 30][seed % 3])
    plan = pack.best_fit(lengths, 32, 4)
    tokens = int(lengths.sum() + 2 * len(plan.row_N))
    assert tokens / (plan.rows * 32) <= pack.ceiling(tokens, len(plan.row_N), 32, 4) <= 1
  assert pack.ceiling(8 * 10, 10, 32, 4) == 80 / 96
  assert pack.ceiling(0, 0, 32, 4) == 0


def test_contiguous_rows_keep_the_order_and_are_full():
  lengths = draw_lengths(3, scale=25)
  plan = pack.contiguous(lengths, 32, 32)
  assert (np.diff(plan.document_N) >= 0).all() and (np.diff(plan.row_N) >= 0).all()
  sizes = np.bincount(plan.row_N, plan.pieces_N + 2)
  assert (sizes[:-1] >= 30).all()


def test_no_documents_make_no_rows():
  for planner in (pack.best_fit, pack.contiguous):
    assert planner(np.zeros(0, int), 32, 4).rows == 0
