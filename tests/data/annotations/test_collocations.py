import types

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.core import batches
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.annotations import collocations
from tests.data.invented import sentences
from tests.data.invented import settings
from tests.data.invented import word_units

TEXTS = sentences(300) + ['naïve (café), x_1: 3.14!', '日本語の文です。東京へ行く', 'ไทย ภาษา'] * 20


@pytest.fixture(scope='module')
def tokenizer():
  return tokenizer_lib.make(tokenizer_lib.train(TEXTS, settings(vocab_size=450)))


def entries(tokenizer, phrases):
  """Returns the Entries of phrases, the shortest first."""
  ids = [tokenizer.encode(phrase) for phrase in phrases]
  zeros = np.zeros(len(ids))
  return collocations.Entries(
    np.array([i for each in ids for i in each], np.int32),
    np.array([len(each) for each in ids]),
    np.array([len(phrase.split()) for phrase in phrases]),
    zeros.astype(np.int64),
    zeros,
    np.zeros(4, np.int64),
  )


def row(tokenizer, *texts, length=64):
  """Returns (tokens_BL, starts_BS) of one row whose segments are the texts."""
  tokens_BL = np.full((1, length), tokenizer.pad_id)
  starts, at = [], 0
  for text in texts:
    ids = [tokenizer.cls_id, *tokenizer.encode(text), tokenizer.sep_id]
    tokens_BL[0, at : at + len(ids)] = ids
    starts.append(at)
    at += len(ids)
  return tokens_BL, np.array([starts + [-1]])


def marked(tokenizer, phrases, *texts):
  """Returns the texts of the collocations in a row, and checks that nothing else is joined."""
  tokens_BL, starts_BS = row(tokenizer, *texts)
  made = collocations.Collocations(tokenizer, entries(tokenizer, phrases))
  joins_BL, counts = made.match(tokens_BL, starts_BS)
  parts = np.split(tokens_BL[0], np.flatnonzero(~joins_BL[0])[1:])
  joined = [tokenizer.decode(part) for part in parts if len(part) > 1]
  assert counts['collocations'] == len(joined)
  assert counts['words'] == sum(len(text.split()) for text in joined)
  return joined


def random_rows(tokenizer, rows, seed):
  """Returns (tokens_BL, starts_BS) of sentences over a few words."""
  draw = np.random.default_rng(seed)
  words = 'ba be bi bo'.split()
  sentence = lambda: ' '.join(draw.choice(words, draw.integers(1, 14))) + '.'
  made = [row(tokenizer, sentence(), sentence(), length=96) for _ in range(rows)]
  return tuple(np.concatenate(each) for each in zip(*made))


def test_words_are_those_of_masking_by_words(tokenizer):
  made = [
    row(tokenizer, text, TEXTS[-1 - i], length=400)
    for i, text in enumerate(TEXTS[:40] + TEXTS[-3:])
  ]
  tokens_BL, starts_BS = (np.concatenate(each) for each in zip(*made))
  found = collocations.words(tokenizer, tokens_BL, starts_BS)
  batch = batches.Batch(
    tokens_BL.astype(np.int32),
    starts_BS.astype(np.int32),
    np.zeros((len(tokens_BL), 2), np.uint32),
    np.zeros(len(tokens_BL), np.uint32),
  )
  units_BL = np.asarray(word_units(tokenizer.table(), batch))
  assert np.array_equal(found.first_W, np.flatnonzero(units_BL == np.arange(400)))
  assert found.tokens_W.sum() == (units_BL >= 0).sum()


def test_a_hash_depends_on_the_pieces_of_a_word_and_their_order(tokenizer):
  tokens_BL = np.array([[10, 11, 12, 11, 10, 12, 10, 11]])
  starts_V = np.zeros(tokenizer.size, bool)
  starts_V[[10, 12]] = True
  fake = types.SimpleNamespace(
    size=tokenizer.size,
    special_ids=(0,),
    starts_V=starts_V,
    ends_V=np.zeros_like(starts_V),
    letters_V=np.ones_like(starts_V),
  )
  found = collocations.words(fake, tokens_BL, np.array([[0]]))
  words = [
    tuple(tokens_BL[0, first : first + n]) for first, n in zip(found.first_W, found.tokens_W)
  ]
  assert words == [(10, 11), (12, 11), (10,), (12,), (10, 11)]
  assert [len(set(found.hash_W[:4])), found.hash_W[4] == found.hash_W[0]] == [4, True]
  fake.starts_V = np.arange(tokenizer.size) < 0
  one, other = (
    collocations.words(fake, np.array([ids]), np.array([[0]])).hash_W[0]
    for ids in ([10, 11], [11, 10])
  )
  assert one != other


def test_the_longest_match_wins(tokenizer):
  phrases = ['lo be', 'be ku', 'be ku mi', 'lo be ku mi']
  assert marked(tokenizer, phrases, 'da lo be ku mi pa') == ['lo be ku mi']
  assert marked(tokenizer, phrases, 'da be ku mi lo be') == ['be ku mi', 'lo be']
  assert marked(tokenizer, phrases[:2], 'lo pa be mi ku') == []


def test_neighbours_of_two_collocations_stay_two(tokenizer):
  assert marked(tokenizer, ['lo be', 'ku mi'], 'lo be ku mi lo be') == ['lo be', 'ku mi', 'lo be']


def test_no_collocation_reaches_over_punctuation_or_segments(tokenizer):
  assert marked(tokenizer, ['lo be'], 'da lo, be', 'lo', 'be', 'lo be.') == ['lo be']
  assert marked(tokenizer, ['lo be'], 'da lo - be (lo) be lo! be') == []
  # Not even where nothing is between two segments.
  together = np.array([tokenizer.encode('lo') + tokenizer.encode('be')])
  found = collocations.Collocations(tokenizer, entries(tokenizer, ['lo be']))
  assert found(together, np.array([[0, -1]])).any()
  assert not found(together, np.array([[0, len(tokenizer.encode('lo'))]])).any()


def greedy(found, keys):
  """Returns (inside_W, first_W) word by word: the longest first, those of one length by falling
  draw.
  """
  draws = collocations._draws(found)
  inside, first = [False] * len(draws), [False] * len(draws)
  for n in (5, 4, 3, 2):
    places = [
      t
      for t in range(len(draws) - n + 1)
      if all(found.follows_W[t + 1 : t + n]) and tuple(found.hash_W[t : t + n].tolist()) in keys
    ]
    for t in sorted(places, key=lambda t: -int(draws[t])):
      if not any(inside[t : t + n]):
        inside[t : t + n] = [True] * n
        first[t] = True
  return inside, first


def test_matching_is_what_taking_one_after_another_gives(tokenizer):
  phrases = [
    'ba be',
    'be ba',
    'bi bi',
    'bo ba',
    'ba ba ba',
    'be bi bo',
    'bi bi bi bi',
    'bo be ba bi',
    'ba be bi bo ba',
  ]
  made = collocations.Collocations(tokenizer, entries(tokenizer, phrases))
  keys = set()
  for phrase in phrases:
    hash_W = collocations.words(tokenizer, *row(tokenizer, phrase)).hash_W
    keys.add(tuple(hash_W.tolist()))
  found = collocations.words(tokenizer, *random_rows(tokenizer, 300, seed=3))
  inside_W, first_W = made._inside(found)
  wanted = greedy(found, keys)
  assert inside_W.tolist() == wanted[0] and first_W.tolist() == wanted[1]
  assert 500 < first_W.sum() and 0.3 < inside_W.mean() < 0.95


def test_overlaps_are_broken_at_random(tokenizer):
  draw = np.random.default_rng(0)
  others = [word for text in sentences(9) for word in text.strip('.').lower().split()]
  firsts = 0
  for _ in range(400):
    around = ' '.join(draw.choice(others, 6))
    (joined,) = marked(tokenizer, ['lo be', 'be ku'], f'{around} lo be ku')
    firsts += joined == 'lo be'
  assert 140 < firsts < 260  # 6 standard deviations


def test_a_text_is_matched_alike_wherever_it_is(tokenizer):
  phrases = ['ba be', 'be bi', 'bi ba', 'ba ba']
  made = collocations.Collocations(tokenizer, entries(tokenizer, phrases))
  tokens_BL, starts_BS = random_rows(tokenizer, 30, seed=5)
  joins_BL = made(tokens_BL, starts_BS)
  assert joins_BL.any() and joins_BL.shape == tokens_BL.shape and joins_BL.dtype == bool
  order = np.random.default_rng(1).permutation(30)
  assert np.array_equal(made(tokens_BL[order], starts_BS[order]), joins_BL[order])
  for b in range(30):
    second = starts_BS[b, 1]
    alone = made(tokens_BL[b : b + 1, second:], np.array([[0]]))
    assert np.array_equal(alone[0], joins_BL[b, second:])


def different(n, seed):
  """Returns n different texts of one sentence."""
  draw = np.random.default_rng(seed)
  return [' '.join(words) + '.' for words in draw.choice('da mi pa gu'.split(), (n, 12))]


def test_a_phrase_that_occurs_again_is_divided_by_another_draw(tokenizer):
  """In another document, and further on in the same one."""
  phrases = ['lo be', 'be ku']
  outcomes = [
    marked(tokenizer, phrases, f'{other} lo be ku. lo be ku') for other in different(400, 0)
  ]
  assert 140 < sum(first == 'lo be' for first, _ in outcomes) < 260  # 6 standard deviations
  assert 140 < sum(first == second for first, second in outcomes) < 260


def test_any_of_several_that_overlap_is_as_likely_to_be_first(tokenizer):
  """Of three in a chain the middle one wins where it is drawn before its two neighbours."""
  made = collocations.Collocations(tokenizer, entries(tokenizer, ['lo be', 'be ku', 'ku mi']))
  rows = [row(tokenizer, f'{other} lo be ku mi') for other in different(10_000, 1)]
  counts = made.match(*(np.concatenate(each) for each in zip(*rows)))[1]
  middle = 2 * len(rows) - counts['collocations']  # alone; the outer two go together
  assert middle / len(rows) == pytest.approx(1 / 3, abs=0.0236)  # 5 standard deviations


def test_entries_are_read_as_they_were_written(tokenizer, tmp_path):
  made = entries(tokenizer, ['lo be', 'ku mi', 'be ku mi'])
  for name in 'ab':
    collocations.write(tmp_path / name, made)
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()
  again = collocations.read((tmp_path / 'a').read_bytes())
  assert all(
    np.array_equal(x, y) for x, y in zip(vars(made).values(), vars(again).values(), strict=True)
  )
  assert [tokenizer.decode(ids) for ids in again.pieces()] == ['lo be', 'ku mi', 'be ku mi']


def test_a_file_of_entries_is_made_ready_and_a_damaged_one_refused(tokenizer, tmp_path):
  path = tmp_path / 'collocations.npz'
  assert collocations.load(path, tokenizer) is None
  collocations.write(path, entries(tokenizer, ['lo be']))
  tokens_BL, starts_BS = row(tokenizer, 'da lo be mi')
  joins = collocations.load(path, tokenizer)
  assert joins is not None
  assert joins(tokens_BL, starts_BS).sum() == len(tokenizer.encode('lo be')) - 1
  whole = path.read_bytes()
  for data in (whole[:-9], b'', b'no zip'):
    path.write_bytes(data)
    with pytest.raises(config.UserError, match='collocations.npz is damaged'):
      collocations.load(path, tokenizer)


def test_rows_of_padding_alone_have_no_words(tokenizer):
  made = collocations.Collocations(tokenizer, entries(tokenizer, ['lo be']))
  assert not made(np.full((2, 8), tokenizer.pad_id), np.full((2, 1), -1)).any()
