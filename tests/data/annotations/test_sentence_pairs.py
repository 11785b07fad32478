"""Pairs of sentences: what the labels say is so, half of them are wrong, and they reach the
batch.
"""

import collections
import re
import types

import jax
import numpy as np
import pytest
import tokenizers

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.data import inspect
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import prepare as prepare_lib
from mlm_jax.data import rows as rows_lib
from mlm_jax.data import store
from mlm_jax.data.annotations import sentence_pairs
from tests import toys
from tests.data.invented import settings
from tests.data.invented import stories

STOP, QUOTE, FIRST_WORD, VOCAB, ROOM = 0, 1, 2, 50, 40
# All that `make` asks a tokenizer for: two pieces are punctuation, one of them ends sentences.
TOKENIZER = types.SimpleNamespace(
  closes_V=np.arange(VOCAB) == STOP, letters_V=np.arange(VOCAB) >= FIRST_WORD
)


def documents(number, seed=0) -> tuple[np.ndarray, np.ndarray]:
  """Returns (lengths, pieces_T) of documents of 0 to 40 sentences, of which every fourth is
  quoted.
  """
  random = np.random.default_rng(seed)
  made: list[list[int]] = []
  for _ in range(number):
    made.append([])
    for _ in range(random.integers(0, 41)):
      quote = [QUOTE] * (random.random() < 0.25)
      words = random.integers(
        FIRST_WORD, VOCAB, random.integers(1, 12) if random.random() < 0.97 else 60
      )
      made[-1] += [*words, STOP, *quote]
  return np.array([len(each) for each in made]), np.array(sum(made, []), np.uint16)


def sentences_of(document):
  """Returns [(begin, end)] of the sentences of a list of pieces: a word after a stop begins
  another.
  """
  begins = [
    i
    for i in range(len(document))
    if not i
    or document[i] >= FIRST_WORD
    and (document[i - 1] == STOP or document[i - 1] == QUOTE and document[i - 2] == STOP)
  ]
  return list(zip(begins, [*begins[1:], len(document)]))


@pytest.fixture(scope='module')
def many():
  return documents(500)


@pytest.fixture(scope='module', params=['nsp', 'sop'])
def made(request, many: tuple[np.ndarray, np.ndarray]):
  return request.param, sentence_pairs.make(*many, TOKENIZER, ROOM, request.param)


def test_half_of_the_pairs_are_wrong(made):
  """Six standard deviations: a false alarm is one in 10**8."""
  label_N = made[1].label_N
  assert len(label_N) > 2000 and set(label_N) == {sentence_pairs.RIGHT, sentence_pairs.WRONG}
  assert abs((label_N == sentence_pairs.WRONG).mean() - 0.5) < 6 * 0.5 / len(label_N) ** 0.5


def test_the_labels_say_how_the_parts_belong_together(made, many):
  kind, found = made
  ends = np.cumsum(many[0])
  document = lambda part: set(np.searchsorted(ends, [part[0], part[1] - 1], 'right'))
  for (a, b), label in zip(found.parts_N22, found.label_N):
    assert a[0] < a[1] and b[0] < b[1] and len(document(a)) == len(document(b)) == 1
    if label == sentence_pairs.RIGHT:
      assert a[1] == b[0] and document(a) == document(b)
    elif kind == 'sop':
      assert b[1] == a[0] and document(a) == document(b)
    else:
      assert document(a) != document(b)


def test_parts_are_whole_sentences_and_fit_the_room(made, many):
  """Only what another document gives may end inside a sentence, where its first one has no room."""
  bounds, begin = set(), 0
  for length in many[0]:
    found = sentences_of(many[1][begin : begin + length].tolist())
    bounds |= {begin + place for sentence in found for place in sentence}
    begin += length
  pieces = made[1].lengths
  assert pieces.max() <= ROOM and np.mean(pieces > 0.7 * ROOM) > 0.6
  cut = 0
  for (a, b), label in zip(made[1].parts_N22, made[1].label_N):
    assert {a[0], a[1], b[0]} <= bounds
    if b[1] not in bounds:
      assert (
        made[0] == 'nsp' and label == sentence_pairs.WRONG and b[1] - b[0] + a[1] - a[0] + 1 == ROOM
      )
      cut += 1
  assert cut < 0.05 * len(pieces)


def test_each_piece_is_in_at_most_one_pair_of_its_own_document(made, many):
  """But those whose place another document took: they begin the next stretch."""
  kind, found = made
  own = (
    found.parts_N22.reshape(-1, 2)
    if kind == 'sop'
    else np.concatenate(
      [found.parts_N22[:, 0], found.parts_N22[found.label_N == sentence_pairs.RIGHT, 1]]
    )
  )
  count_T = np.zeros(len(many[1]), int)
  for begin, end in own:
    count_T[begin:end] += 1
  assert count_T.max() == 1 and (count_T == 1).mean() > 0.75
  seen = {place for part in found.parts_N22.reshape(-1, 2) for place in range(*part)}
  assert found.left_out(len(many[1])) == len(many[1]) - len(seen)


def test_lengths_do_not_tell_wrong_from_right(many: tuple[np.ndarray, np.ndarray]):
  """The mean rank of the wrong ones, .5 where lengths say nothing; first parts never depend on the
  label.
  """
  found = sentence_pairs.make(*many, TOKENIZER, ROOM, 'nsp')
  sizes_N2 = np.diff(found.parts_N22, axis=2)[:, :, 0]
  wrong_N = found.label_N == sentence_pairs.WRONG
  for size_N, most in ((sizes_N2[:, 0], 0.05), (sizes_N2[:, 1], 0.05), (sizes_N2.sum(1), 0.05)):
    above = (size_N[wrong_N, None] > size_N[None, ~wrong_N]).mean()
    below = (size_N[wrong_N, None] < size_N[None, ~wrong_N]).mean()
    assert abs(above - below) / 2 < most


def test_what_is_written_is_the_parts_with_a_token_between(made, many):
  wanted = [[*many[1][slice(*a)], 99, *many[1][slice(*b)]] for a, b in made[1].parts_N22]
  written_T = made[1].written(many[1], 99)
  assert written_T.tolist() == sum(wanted, []) and written_T.dtype == many[1].dtype
  assert made[1].lengths.tolist() == list(map(len, wanted))


def test_first_parts_and_labels_depend_on_their_document_alone(made, many):
  kind, found = made
  lengths, pieces_T = many
  few = sentence_pairs.make(lengths[:50], pieces_T[: lengths[:50].sum()], TOKENIZER, ROOM, kind)
  n = len(few.label_N)
  assert n > 100 and np.array_equal(few.label_N, found.label_N[:n])
  firsts = few.parts_N22[:, 0], found.parts_N22[:n, 0]
  assert np.array_equal(*firsts)


def test_documents_without_two_sentences_give_none():
  for document in ([], [5, 6, 7], [5, 6, STOP], [5, *[6] * 60, STOP, 7, STOP]):
    for kind in ('nsp', 'sop'):
      found = sentence_pairs.make(
        np.array([len(document)]), np.array(document, np.uint16), TOKENIZER, ROOM, kind
      )
      assert (
        not len(found.label_N)
        and not len(found.written(np.array(document), 0))
        and not len(found.lengths)
      )
      assert found.left_out(len(document)) == len(document)


def test_a_document_alone_gives_no_second_part_of_another():
  lengths, pieces_T = documents(20)
  alone = sentence_pairs.make(lengths[-1:], pieces_T[-lengths[-1] :], TOKENIZER, ROOM, 'nsp')
  assert len(alone.label_N) and (alone.label_N == sentence_pairs.RIGHT).all()


# From the sources to the batch


def prepare(folder, name='data', **changes):
  changes = (
    dict(
      source=f'text:{folder}/a.txt,text:{folder}/b.txt',
      row_length=48,
      pairs='nsp',
      validation_fraction=0.2,
    )
    | changes
  )
  return prepare_lib.prepare(
    settings(**changes), folder / name, log=changes.pop('log', lambda line: None)
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('stories')
  for name, number in (('a', 300), ('b', 150)):
    (folder / f'{name}.txt').write_text('\n'.join(stories(number, number)))
  return folder


@pytest.fixture(scope='module')
def prepared(folder):
  return prepare(folder, collocations=60)


def segments(rows, tokenizer):
  """Yields (pieces of the first part, pieces of the second, label) of each segment."""
  for row, starts, labels in zip(rows.tokens_RL, rows.starts_RS, rows.columns['pairs_BS'][:]):
    assert not labels[starts < 0].any()
    begins = starts[starts >= 0]
    for begin, end, label in zip(begins, [*begins[1:], (row != tokenizer.pad_id).sum()], labels):
      cls, *inside, sep = row[begin:end].tolist()
      middle = inside.index(tokenizer.sep_id)
      assert (cls, sep) == (tokenizer.cls_id, tokenizer.sep_id) and inside.count(
        tokenizer.sep_id
      ) == 1
      yield inside[:middle], inside[middle + 1 :], label


@pytest.mark.parametrize('kind', ['nsp', 'sop'])
def test_each_segment_is_a_pair_whose_label_is_that_of_its_text(folder, kind):
  """In its own document a right pair is as it is here; a wrong one is reversed, or not there."""
  made = prepare(folder, kind, pairs=kind)
  texts = '\n'.join((folder / f'{name}.txt').read_text() for name in 'ab').replace(' ', '')
  bare = lambda ids: made.tokenizer.decode(ids).replace(' ', '')
  counts = collections.Counter()
  for source, split in ((source, split) for split in store.SPLITS for source in range(2)):
    for a, b, label in segments(made.split(split)[source], made.tokenizer):
      counts[int(label), bare(a) + bare(b) in texts, bare(b) + bare(a) in texts] += 1
  total = sum(counts.values())
  right = sum(
    count
    for (label, follows, _), count in counts.items()
    if label == sentence_pairs.RIGHT and follows
  )
  wrong = sum(
    count
    for (label, follows, turned), count in counts.items()
    if label == sentence_pairs.WRONG and not follows and turned == (kind == 'sop')
  )
  assert total > 400 and right + wrong > 0.99 * total  # a word or two may follow another by chance
  assert 0.4 < right / total < 0.6


def test_the_manifest_counts_the_pairs(prepared):
  special = prepared.tokenizer.special_ids
  for number, entry in enumerate(prepared.manifest['sources']):
    for split in store.SPLITS:
      rows = prepared.split(split)[number]
      labels = collections.Counter(rows.columns['pairs_BS'][:][rows.starts_RS >= 0].tolist())
      assert entry[split]['pairs'] | {'left_out': 0} == {
        'right': labels[1],
        'wrong': labels[2],
        'left_out': 0,
      }
      assert entry[split]['pieces'] == np.isin(rows.tokens_RL, special, invert=True).sum()
      assert entry[split]['tokens'] == (rows.tokens_RL != prepared.tokenizer.pad_id).sum()
      assert entry[split]['segments'] == labels[1] + labels[2] > 0
      assert 0 < entry[split]['pairs']['left_out'] < 0.3 * entry[split]['pieces']


def test_pairs_prepared_again_are_the_same_bytes(folder, prepared, monkeypatch):
  monkeypatch.setattr(rows_lib, '_BLOCK_ROWS', 7)
  again = prepare(folder, 'again', collocations=60)
  assert again.manifest == prepared.manifest
  for name in prepared.manifest['files']:
    assert (again.directory / name).read_bytes() == (prepared.directory / name).read_bytes()
  assert 'a/train/pairs.npy' in prepared.manifest['files']


def test_the_kind_of_pairs_decides_about_reuse(folder, prepared):
  assert prepare(folder, collocations=60).fingerprint == prepared.fingerprint
  for kind in ('', 'sop'):
    with pytest.raises(
      config_lib.UserError, match=f"config.data.pairs .prepared with 'nsp', now '{kind}'"
    ):
      prepare(folder, collocations=60, pairs=kind)


def test_batches_carry_the_labels_of_their_rows(prepared):
  batch = loader_lib.Loader(prepared, 'train', 16, seed=1).batch(1)
  for b, (source, row) in enumerate(batch.example_B2):
    assert np.array_equal(batch.pairs_BS[b], prepared.train[source].columns['pairs_BS'][row])
  loader = loader_lib.EvaluationLoader(prepared, 64)
  last = loader.batch(len(loader) - 1)
  assert np.array_equal(last.pairs_BS > 0, last.starts_BS >= 0) and not last.pairs_BS[-1].any()


@pytest.mark.parametrize(
  'unit',
  [
    'word',
    'collocation',
    pytest.param('span', marks=pytest.mark.slow),
    pytest.param('sentence', marks=pytest.mark.slow),
  ],
)
def test_no_collocation_and_no_unit_reaches_from_one_sentence_of_a_pair_into_the_other(
  unit, prepared
):
  batch = loader_lib.Loader(prepared, 'train', 16, seed=1).batch(0)
  part_BL = np.cumsum(
    np.isin(batch.tokens_BL, (prepared.tokenizer.cls_id, prepared.tokenizer.sep_id)), axis=1
  )
  joins_BL = batch.columns['joins_BL']
  assert joins_BL.any() and not (joins_BL[:, 1:] & (part_BL[:, 1:] != part_BL[:, :-1])).any()
  policy = masking.make(prepared.table, unit=unit)
  units_BL = np.asarray(toys.mask(policy, rng.root_key(0), batch).units_BL)
  inside_BL = units_BL >= 0
  first_BL = np.take_along_axis(part_BL, np.maximum(units_BL, 0), axis=1)
  assert (first_BL == part_BL)[inside_BL].all() and inside_BL.any()


def test_classes_are_those_of_the_pieces_of_pairs(folder):
  made = prepare(folder, 'classes', classes='tests.data.annotations.test_sentence_pairs:initials')
  classes = made.classes
  for rows in made.train + made.validation:
    for row, classes_L in zip(rows.tokens_RL, rows.columns['classes_BL'][:]):
      assert not classes_L[np.isin(row, made.tokenizer.special_ids)].any()
      for i, number in zip(row, classes_L):
        piece = made.tokenizer.piece(i)
        if piece.startswith('▁') and piece[1:2].isalpha():
          assert classes[number - 1] == ('early' if piece[1].lower() < 'm' else 'late')


def initials(text):
  """Returns [(begin, end, class)] of the words of a text, for config.data.classes."""
  return [
    (found.start(), found.end(), 'early' if found[0][0].lower() < 'm' else 'late')
    for found in re.finditer(r'\w+', text)
  ]


def test_inspect_shows_pairs(prepared):
  lines = list(inspect.lines(prepared))
  at = next(i for i, line in enumerate(lines) if line.startswith('pairs of sentences (nsp)'))
  assert lines[at + 1].split() == ['source', 'split', 'right', 'wrong', 'left', 'out']
  assert [len(line.split()) for line in lines[at + 2 : at + 7]] == [5, 5, 5, 5, 0]
  shown = [line for line in lines if line.startswith(('  | ', '  + '))]
  assert [line[2] for line in shown] == ['|', '+'] * (len(shown) // 2) and shown


def test_documents_of_one_sentence_are_refused_for_pairs(tmp_path):
  (tmp_path / 'a.txt').write_text(re.sub('[.!?"]', '', '\n'.join(stories(200))))
  with pytest.raises(
    config_lib.UserError,
    match="config.data.pairs = 'nsp': .* both right and wrong pairs; .*"
    'several sentences each, see config.data.document',
  ):
    prepare(tmp_path, source=f'text:{tmp_path}/a.txt')


def test_types_are_those_of_the_tokenizers_library():
  special = {'[PAD]': 0, '[CLS]': 1, '[SEP]': 2}
  words = special | {f'w{i}': i for i in range(3, 30)}
  theirs = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token='[PAD]'))
  theirs.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  theirs.post_processor = tokenizers.processors.BertProcessing(('[SEP]', 2), ('[CLS]', 1))
  random = np.random.default_rng(0)
  text = lambda: ' '.join(f'w{i}' for i in random.integers(3, 30, random.integers(1, 6)))
  types = jax.jit(
    lambda tokens_BL, starts_BS: batches.types(
      tokens_BL, batches.segments(tokens_BL, starts_BS, special['[PAD]']), special['[SEP]']
    )
  )
  for _ in range(20):
    found = [theirs.encode(text(), text()), theirs.encode(text()), theirs.encode(text(), text())]
    ids = sum((each.ids for each in found), [])
    tokens_1L = np.array([ids + [0] * (40 - len(ids))])
    starts_13 = np.cumsum([[0, *(len(each.ids) for each in found[:2])]], axis=1).astype(np.int32)
    expected = sum((each.type_ids for each in found), []) + [0] * (40 - len(ids))
    assert np.asarray(types(tokens_1L, starts_13))[0].tolist() == expected
