"""Slices of the held-out scores against a brute-force version in numpy."""

import collections
import functools
import math
import types

import jax
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import vocabulary
from mlm_jax.evaluation import heldout
from mlm_jax.evaluation import slices
from mlm_jax.objectives import masked
from tests import toys

CLASSES = ('ADJ', 'NOUN')
PIECES = [
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  '[MASK]',
  '<0x41>',
  '<0xC3>',
  '<0xA9>',
  '\u2581',
  '\u2581"',
  '...',
]
PIECES += [('\u2581' if i % 3 else '') + 'x' * (1 + i % 5) for i in range(len(PIECES), toys.VOCAB)]


def table():
  starts_V = np.array([piece.startswith('\u2581') for piece in PIECES])
  return vocabulary.table(toys.VOCAB, toys.MASK, toys.SPECIAL, starts_V, classes=CLASSES)


def prepared():
  counts_V = np.random.default_rng(7).integers(0, 50, toys.VOCAB) ** 2
  counts_V[8:11] = 30_000, 22_000, 16_000  # reach over the ends of fifths
  counts_V[list(toys.SPECIAL)] = 10**6
  tokenizer = types.SimpleNamespace(
    size=toys.VOCAB,
    special_ids=toys.SPECIAL,
    byte_ids=(5, 6, 7),
    starts_V=np.array(table().starts_V),
    piece=lambda i: PIECES[i],
  )
  return types.SimpleNamespace(tokenizer=tokenizer, counts_V=counts_V, table=table())


class Loader:
  """Two batches, the last of them with empty rows."""

  def __init__(self, with_classes):
    made = []
    for seed in (3, 4):
      batch = toys.batch(rows=8, length=20, seed=seed)
      common_BL = batch.tokens_BL >= 30
      batch.tokens_BL[common_BL] = (
        5 + batch.tokens_BL[common_BL] % 7
      )  # bytes, punctuation, a lone mark
      batch.tokens_BL[batch.tokens_BL >= 24] = 7  # a byte that begins no character
      if seed == 4:
        batch.tokens_BL[5:], batch.starts_BS[5:] = toys.PAD, -1
      classes_BL = (
        np.random.default_rng(seed).integers(0, 3, batch.tokens_BL.shape).astype(np.uint8)
      )
      made.append(
        batches.Batch(
          batch.tokens_BL,
          batch.starts_BS,
          batch.example_B2,
          batch.visit_B,
          {'classes_BL': classes_BL} if with_classes else {},
        )
      )
    self.batches = made

  def __len__(self):
    return len(self.batches)

  def batch(self, i):
    return self.batches[i]


def own_policy():
  return masking.make(table(), rate=0.5, corruption_probs=(0.4, 0.3, 0.3))


@functools.cache
def score(with_classes=True, head_rows=2):
  """Returns (slices, scores by segment)."""
  model = toys.model()
  params = toys.start(model)
  policies = {'reference': heldout.reference_policy(table()), 'policy': own_policy()}
  loader = Loader(with_classes)
  objective = masked.Objective(model, toys.PAD, head_rows)
  return slices.score(
    objective, params, policies, prepared(), {'text': loader}, lambda batch: batch
  )


def found(with_classes=True, head_rows=2):
  return score(with_classes, head_rows)[0]


@functools.cache
def predictions(of_own=False):
  """Returns [(token, position in its segment, class, action, loss, hit, segment)] from logits at
  every position; a segment is (batch, row, number).
  """
  policy = own_policy() if of_own else heldout.reference_policy(table())
  scored = []
  model = toys.model()
  params = toys.start(model)
  for number, batch in enumerate(Loader(True).batches):
    drawn = jax.device_get(toys.mask(policy, heldout.reference_key(), batch, 1.0))
    segments_BL = batches.segments(batch.tokens_BL, batch.starts_BS, toys.PAD)
    positions_BL = np.asarray(batches.positions(batch.starts_BS, 20))
    hidden_BLD = toys.apply(model, params, drawn.inputs_BL, segments_BL, positions_BL).hidden_BLD
    logits_BLV = np.asarray(toys.head(model, params, hidden_BLD), np.float64)
    for b, l in zip(*np.nonzero(drawn.chosen_BL)):
      logits_V = logits_BLV[b, l, : toys.VOCAB]
      token = int(batch.tokens_BL[b, l])
      scored.append(
        (
          token,
          positions_BL[b, l],
          int(batch.classes_BL[b, l]),
          int(drawn.action_BL[b, l]),
          np.log(np.exp(logits_V).sum()) - logits_V[token],
          bool(logits_V.argmax() == token),
          (number, b, int(segments_BL[b, l])),
        )
      )
  return scored


def fifth_of(token):
  """Returns the fifth of the training text in which the middle of a piece's share lies."""
  counts = {i: count for i, count in enumerate(prepared().counts_V) if i not in toys.SPECIAL}
  more = sorted(counts, key=lambda i: (-counts[i], i))
  before = sum(counts[i] for i in more[: more.index(token)])
  return min(int(5 * (before + counts[token] / 2) // sum(counts.values())), 4)


def piece_kind(token):
  bare = PIECES[token].replace('\u2581', '')
  return (
    'punctuation'
    if bare in ('"', '...')
    else 'continues a word'
    if bare == PIECES[token]
    else 'starts a word'
  )


def by(kind_of, scored):
  """Returns {slice: (tokens, mean loss, share of hits)}."""
  groups = collections.defaultdict(list)
  for each in scored:
    groups[kind_of(each)].append(each)
  return {
    name: (len(group), np.mean([each[4] for each in group]), np.mean([each[5] for each in group]))
    for name, group in groups.items()
  }


def as_dict(rows):
  assert len({row['slice'] for row in rows}) == len(rows)
  return {row['slice']: (row['tokens'], row['loss'], row['accuracy']) for row in rows}


def equal(rows, expected):
  rows = as_dict(rows)
  assert set(rows) == set(expected)
  return all(rows[name] == pytest.approx(expected[name], rel=2e-6) for name in rows)


@pytest.mark.parametrize('head_rows', (2, pytest.param(8, marks=pytest.mark.slow)))
def test_slices_equal_full_logits_sorted_by_hand(head_rows):
  scores = found(head_rows=head_rows)
  scored = predictions()
  fifths = ['most frequent fifth', 'second fifth', 'third fifth', 'fourth fifth', 'rarest fifth']
  assert equal(scores['slices']['frequency'], by(lambda each: fifths[fifth_of(each[0])], scored))
  assert equal(
    scores['slices']['position'],
    by(lambda each: f'{10 * int(each[1] / 2)} to {10 * int(each[1] / 2) + 10} %', scored),
  )
  assert equal(scores['slices']['piece'], by(lambda each: piece_kind(each[0]), scored))
  assert equal(scores['slices']['class'], by(lambda each: ('no class', *CLASSES)[each[2]], scored))
  own = predictions(of_own=True)
  assert equal(
    scores['slices']['policy action'],
    by(lambda each: {1: 'masked', 2: 'random', 3: 'kept'}[each[3]], own),
  )


@pytest.mark.parametrize('head_rows', (2, pytest.param(8, marks=pytest.mark.slow)))
def test_scores_by_segment_are_those_of_its_hidden_tokens(head_rows):
  _, segments = score(head_rows=head_rows)
  scored = by(lambda each: each[6], predictions())
  expected = [(key, *scored[key]) for key in sorted(scored)]
  assert len({key[2] for key in scored}) > 1 and len({key[:2] for key in scored}) > 8
  assert segments['tokens_N'].tolist() == [tokens for _, tokens, _, _ in expected]
  assert segments['loss_N'] == pytest.approx([n * loss for _, n, loss, _ in expected], rel=2e-6)
  assert segments['hits_N'] == pytest.approx([n * hits for _, n, _, hits in expected])
  assert segments['segment_N'].tolist() == [key[2] for key, *_ in expected]
  examples = [batch.example_B2 for batch in Loader(True).batches]
  rows = [examples[number][row].tolist() for (number, row, _), *_ in expected]
  assert np.stack([segments['source_N'], segments['row_N']], 1).tolist() == rows


def test_each_kind_of_slice_divides_all_hidden_tokens():
  scores = found()
  for kind, rows in scores['slices'].items():
    if kind != 'policy action':
      assert sum(row['tokens'] for row in rows) == scores['reference']['tokens'], kind
      mean = np.average([row['loss'] for row in rows], weights=[row['tokens'] for row in rows])
      assert mean == pytest.approx(scores['reference']['loss'], rel=1e-5)


def test_bits_per_character_are_all_bits_over_all_characters_spelled():
  scored = predictions()
  spelled = {5: 1, 6: 1, 7: 0}  # A; the first byte of e acute; its second
  assert any(each[0] == 7 for each in scored)
  characters = sum(spelled.get(each[0], len(PIECES[each[0]])) for each in scored)
  reference = found()['reference']
  assert reference['characters'] == characters
  assert reference['bits_per_character'] == pytest.approx(
    sum(each[4] for each in scored) / math.log(2) / characters, rel=2e-6
  )


def test_without_classes_there_is_no_slice_by_class():
  scores, with_classes = found(with_classes=False), found()
  assert 'class' not in scores['slices']
  assert scores['slices']['piece'] == with_classes['slices']['piece']


def test_a_policy_that_hides_nothing_has_no_slice_by_action():
  model = toys.model()
  policies = {'reference': heldout.reference_policy(table()), 'policy': own_policy()}
  empty = Loader(False)
  for batch in empty.batches:
    batch.tokens_BL[:], batch.starts_BS[:] = toys.PAD, -1
  params = toys.start(model)
  scores, segments = slices.score(
    masked.Objective(model, toys.PAD, 8),
    params,
    policies,
    prepared(),
    {'text': empty},
    lambda batch: batch,
  )
  assert scores['reference'] == {
    'tokens': 0,
    'loss': None,
    'accuracy': None,
    'characters': 0,
    'bits_per_character': None,
  }
  assert not any(scores['slices'].values())
  assert {len(array_N) for array_N in segments.values()} == {0}
