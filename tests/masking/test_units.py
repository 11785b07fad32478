import dataclasses

import jax
import numpy as np
import pytest

from mlm_jax.core import batches
from mlm_jax.core import vocabulary
from mlm_jax.masking import boundaries
from mlm_jax.masking.units import collocation
from mlm_jax.masking.units import sentence
from mlm_jax.masking.units import span
from mlm_jax.masking.units import token
from mlm_jax.masking.units import word
from tests.masking import conftest


def words_by_loop(table, batch):
  """The definition, token by token."""
  units_BL = np.full(batch.tokens_BL.shape, -1)
  for b, row in enumerate(batch.tokens_BL):
    for i, piece in enumerate(row):
      if piece in table.special_ids:
        continue
      alone = i == 0 or row[i - 1] in table.special_ids or i in batch.starts_BS[b]
      new = alone or table.starts_V[piece] or table.ends_V[row[i - 1]]
      units_BL[b, i] = i if new else units_BL[b, i - 1]
  return units_BL


@pytest.mark.parametrize('seed', range(3))
def test_words_equal_their_definition(table, seed):
  batch = conftest.make_batch(rows=20, seed=seed)
  assert np.array_equal(word.Word().units(table, batch), words_by_loop(table, batch))


def test_words_end_with_their_document_without_special_tokens_between(table):
  batch = conftest.make_batch(rows=1)
  inner = np.flatnonzero(~table.starts_V & ~table.ends_V)[-1]  # a piece inside a word
  batch.tokens_BL[:] = inner
  units_BL = np.asarray(word.Word().units(table, batch))
  assert units_BL[0].tolist() == [0] * 16 + [16] * 16


def test_every_token_is_its_own_unit(table, batch):
  units_BL = np.asarray(token.Token().units(table, batch))
  special_BL = np.isin(batch.tokens_BL, table.special_ids)
  assert np.array_equal(units_BL, np.where(special_BL, -1, np.arange(32)))


@pytest.mark.parametrize(
  'make', (token.Token, word.Word, collocation.Collocation, sentence.Sentence)
)
def test_lengths_are_at_first_tokens_and_count_every_token_once(table, make):
  units_BL = np.asarray(make().units(table, conftest.make_batch(rows=20)))
  lengths_BL = np.asarray(jax.jit(boundaries.lengths)(units_BL))
  for row, lengths in zip(units_BL, lengths_BL):
    assert np.array_equal(np.bincount(row[row >= 0], minlength=32), lengths)


def starts_by_loop(table, batch):
  """Returns {row: [positions at which a stretch of text without special tokens begins]}."""
  fresh = {}
  for b, row in enumerate(batch.tokens_BL):
    special = np.isin(row, table.special_ids)
    fresh[b] = [
      i
      for i in range(len(row))
      if not special[i] and (i == 0 or special[i - 1] or i in batch.starts_BS[b])
    ]
  return fresh


def joined_by_loop(table, batch, starts_unit):
  """Units of rows whose later units start where starts_unit(b, i) says; called for each token in
  turn.
  """
  units_BL, fresh = np.full(batch.tokens_BL.shape, -1), starts_by_loop(table, batch)
  for b, row in enumerate(batch.tokens_BL):
    for i, piece in enumerate(row):
      if piece not in table.special_ids:
        new = starts_unit(b, i, i in fresh[b])
        units_BL[b, i] = i if new else units_BL[b, i - 1]
  return units_BL


@pytest.mark.parametrize('seed', range(3))
def test_collocations_equal_their_definition(table, seed):
  batch = conftest.make_batch(rows=20, seed=seed)
  words_BL = words_by_loop(table, batch)
  expected_BL = joined_by_loop(
    table, batch, lambda b, i, fresh: fresh or words_BL[b, i] == i and not batch.joins_BL[b, i]
  )
  assert np.array_equal(collocation.Collocation().units(table, batch), expected_BL)
  assert (expected_BL != words_BL).any()


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('special_ends', (False, True))
def test_sentences_equal_their_definition(table, seed, special_ends):
  """Also where special pieces count as the end of a word, as tokenizers have them."""
  ends_V = table.ends_V.copy()
  ends_V[list(table.special_ids)] = special_ends
  table = dataclasses.replace(
    table, ends_V=ends_V, closes_V=np.random.default_rng(1).random(200) < 0.15
  )
  batch = conftest.make_batch(rows=40, seed=seed)
  closed = False

  def starts_sentence(b, i, fresh):
    nonlocal closed
    piece = batch.tokens_BL[b, i]
    if fresh:
      closed = False
    if table.closes_V[piece]:
      closed = True
      return fresh
    aside = table.ends_V[piece] and not fresh
    new = fresh or closed and not aside
    closed = closed and aside
    return new

  expected_BL = joined_by_loop(table, batch, starts_sentence)
  assert np.array_equal(sentence.Sentence().units(table, batch), expected_BL)


def test_a_sentence_keeps_the_quotation_mark_behind_it_and_the_one_before_the_first():
  stop, quote, letter = 1, 2, 3
  table = vocabulary.table(
    4, 0, (0,), starts_V=[0, 1, 1, 1], ends_V=[1, 1, 1, 0], closes_V=[0, 1, 0, 0]
  )
  first, second = (
    [quote, letter, stop, quote, letter, letter, stop, stop],
    [quote, letter, stop, 0, letter],
  )
  batch = batches.Batch(np.array([[0, *first, 0, 0, *second]]), np.array([[0, 10]]), None, None)
  assert np.asarray(sentence.Sentence().units(table, batch))[0].tolist() == [
    -1,
    1,
    1,
    1,
    1,
    5,
    5,
    5,
    5,
    -1,
    -1,
    11,
    11,
    11,
    -1,
    15,
  ]


@pytest.mark.parametrize('of', ('word', 'token'))
@pytest.mark.parametrize(
  'law', (('geometric', 0.2, 10), ('uniform', 0.2, 3), ('harmonic', 0.2, 4), ('geometric', 0.2, 1))
)
def test_spans_equal_a_walk_along_the_row(table, of, law):
  batch = conftest.make_batch(rows=40, length=64)
  share_K = span.length_distribution(*law)
  words_BL = (
    np.random.default_rng(3).integers(0, 2**32, batch.tokens_BL.shape, np.uint64).astype(np.uint32)
  )
  atoms_BL = words_by_loop(table, batch)
  left = 0

  def starts_span(b, i, fresh):
    nonlocal left
    if of == 'word' and atoms_BL[b, i] != i:
      return False
    new = fresh or left == 0
    if new:  # the smallest length whose cumulative probability is above the fraction
      fraction = words_BL[b, i] / 2**32
      left = next(n for n in range(1, law[2] + 1) if n == law[2] or fraction < share_K[:n].sum())
    left -= 1
    return new

  expected_BL = joined_by_loop(table, batch, starts_span)
  found_BL = jax.jit(span.Span.units)(span.Span(span.below(share_K), of), table, batch, words_BL)
  assert np.array_equal(found_BL, expected_BL)


@pytest.mark.parametrize(
  'law, expected',
  (
    (('geometric', 0.5, 3), [4 / 7, 2 / 7, 1 / 7]),
    (('uniform', 0.5, 4), [0.25] * 4),
    (('harmonic', 0.5, 3), [6 / 11, 3 / 11, 2 / 11]),
    (('geometric', 1.0, 3), [1, 0, 0]),
    (('harmonic', 0.5, 1), [1]),
  ),
)
def test_span_length_distributions(law, expected):
  assert span.length_distribution(*law) == pytest.approx(expected)


@pytest.mark.parametrize('p, longest', ((1.0, 5), (0.9, 40), (0.5, 80)))
def test_spans_that_nearly_always_end_early_do(p, longest):
  """Probabilities that round to 1 must not wrap around."""
  below_K = span.below(span.length_distribution('geometric', p, longest))
  assert (np.diff(below_K.astype(np.int64)) >= 0).all() and below_K[-1] == 2**32 - 1
  assert below_K[0] == pytest.approx(p * 2**32, rel=1e-6)
