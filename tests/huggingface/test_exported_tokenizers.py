"""Tokenizers from Hugging Face folders and into them: against the `tokenizers` library."""

import functools
import io
import json
import math
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tokenizers
from tokenizers import implementations

from mlm_jax import config
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.tokenizers import sentencepiece_model
from mlm_jax.huggingface import exported_tokenizers
from mlm_jax.huggingface import imported_tokenizers
from tests.data.invented import odd_texts
from tests.data.invented import sentences
from tests.data.invented import settings

TEXTS = sentences(300) + ['naïve (café), x_1: 3.14!', '日本語の文です。東京へ行く', 'ไทย ภาษา'] * 20
NAMES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
CLEANED = settings()
RAW = settings(
  unicode='none', control_characters='keep', white_space='keep', boundary_mark='keep'
)


def train(kind, **changes):
  return tokenizer_lib.make(
    tokenizer_lib.train(TEXTS, settings(tokenizer=kind, vocab_size=450, **changes))
  )


@pytest.fixture(scope='module', params=['bpe', 'unigram', 'word', 'wordpiece', 'byte_bpe'])
def kind(request):
  return request.param


@pytest.fixture(scope='module')
def ours(kind):
  return train(kind)


@pytest.fixture(scope='module')
def theirs(ours):
  return tokenizers.Tokenizer.from_buffer(exported_tokenizers.to_json(ours, RAW))


@functools.cache
def cleaned(n, **changes):
  """Returns texts without names of special pieces."""
  texts = odd_texts(n, settings(**changes)) + TEXTS + sentences(400, seed=9)
  return [text for text in texts if not any(name in text for name in NAMES)]


def test_an_export_encodes_alike_and_reads_back(ours, theirs):
  texts = cleaned(3000)
  for text, ids, encoding in zip(
    texts, ours.encode_batch(texts), theirs.encode_batch(texts), strict=True
  ):
    assert encoding.ids == [ours.cls_id, *ids, ours.sep_id], text
    assert encoding.special_tokens_mask == [1, *[0] * len(ids), 1]
  for text in texts[:300]:
    ids = ours.encode(text)
    if ours.byte_ids:
      assert theirs.decode([ours.cls_id, *ids, ours.sep_id]) == text
  pair = theirs.encode('fi', 'du')
  assert pair.ids == [2, *ours.encode('fi'), 3, *ours.encode('du'), 3]
  assert pair.type_ids == [0] * (2 + len(ours.encode('fi'))) + [1] * (1 + len(ours.encode('du')))


def test_a_mask_in_a_text_is_taken_as_ours_is(ours, theirs):
  for text in ('fi [MASK].', '[MASK] du', 'a [MASK] [MASK], b', 'x[MASK]y'):
    assert theirs.encode(text).ids == [2, *ours.encode_with_masks(text), 3]


def test_an_export_is_the_same_tokenizer_when_read_here(kind, ours):
  again = tokenizer_lib.make(exported_tokenizers.to_json(ours, RAW))
  for name in (
    'size',
    'pad_id',
    'unk_id',
    'cls_id',
    'sep_id',
    'mask_id',
    'special_ids',
    'byte_ids',
  ):
    assert getattr(again, name) == getattr(ours, name), name
  for name in ('starts_V', 'ends_V', 'closes_V', 'letters_V'):
    assert np.array_equal(getattr(again, name), getattr(ours, name)), name
  for i in range(ours.size):
    assert again.piece(i) == ours.piece(i)
  # Each text is read a dozen times: fewer of the plain sentences at the end.
  for text in cleaned(200)[:600] + ['']:
    masked = f'a [MASK]{text} [MASK].'
    ids = ours.encode(text)
    assert again.encode(text) == ids
    assert again.encode_with_masks(masked) == ours.encode_with_masks(masked)
    assert again.decode(ids) == ours.decode(ids)
    if kind != 'word':  # whose model places all bytes of a word where the word is
      assert np.array_equal(again.encode_with_places(text)[1], ours.encode_with_places(text)[1]), (
        text
      )


def test_merges_go_by_the_scores_of_pieces_not_by_their_order():
  proto = sentencepiece_model.parse(train('bpe').model, '')
  pieces = list(proto.pieces)
  del proto.pieces[:]
  proto.pieces.extend([*pieces[:261], *pieces[:260:-1]])
  turned = tokenizer_lib.make(proto.SerializeToString())
  theirs = tokenizers.Tokenizer.from_buffer(exported_tokenizers.to_json(turned, RAW))
  for text in cleaned(300):
    assert theirs.encode(text).ids[1:-1] == turned.encode(text)


@pytest.mark.parametrize('library', ['bpe', 'unigram'])
def test_a_text_with_kept_white_space_differs_only_where_it_begins_with_a_space(library):
  ours = train(library, white_space='keep')
  theirs = tokenizers.Tokenizer.from_buffer(exported_tokenizers.to_json(ours, RAW))
  texts = cleaned(1000, white_space='keep', control_characters='keep')
  differs = [theirs.encode(text).ids[1:-1] != ours.encode(text) for text in texts]
  assert differs == [text.startswith(' ') for text in texts] and any('\n' in text for text in texts)


def test_the_name_of_a_special_piece_in_a_text_is_taken_for_the_piece(ours, theirs):
  for name in NAMES:
    i = NAMES.index(name)
    assert i in theirs.encode(f'a {name} b').ids[1:-1]
    assert i == ours.unk_id or i not in ours.encode(f'a {name} b')


def test_unigram_differs_only_where_two_ways_are_equally_good():
  """Runs of one letter can be cut in many ways of the same score."""
  texts = [letter * n for letter in 'aei' for n in range(2, 400, 3)] + sentences(100)
  data = settings(tokenizer='unigram', vocab_size=300)
  ours = tokenizer_lib.make(tokenizer_lib.train(texts, data))
  theirs = tokenizers.Tokenizer.from_buffer(exported_tokenizers.to_json(ours, RAW))
  score = [piece.score for piece in sentencepiece_model.parse(ours.model, '').pieces]
  differing = 0
  for text in texts:
    a, b = ours.encode(text), theirs.encode(text).ids[1:-1]
    differing += a != b
    assert ours.decode(b) == text
    best = math.fsum(score[i] for i in b)
    rounding = 2 * len(a) * 2**-24 * abs(best)
    assert math.fsum(score[i] for i in a) == pytest.approx(best, abs=rounding)
  assert differing


def test_words_of_one_letter_cannot_be_written():
  data = settings(tokenizer='word', vocab_size=300, white_space='keep')
  ours = tokenizer_lib.make(tokenizer_lib.train(TEXTS, data))
  with pytest.raises(
    config.UserError, match='cannot be written as tokenizer.json, .* words, some of one letter'
  ):
    exported_tokenizers.to_json(ours, RAW)


@pytest.mark.parametrize('library', ['wordpiece', 'byte_bpe'])
def test_a_tokenizer_json_stays_as_it_is_but_for_what_it_lacks(library):
  ours = train(library)
  assert exported_tokenizers.to_json(ours, RAW) == ours.model
  document = json.loads(ours.model)
  others = json.dumps(json.loads(ours.model) | {'padding': None}, indent=3).encode()
  assert interop.to_json(tokenizer_lib.make(others)) == others
  bare = tokenizer_lib.make(
    json.dumps(document | {'post_processor': None, 'decoder': None}).encode()
  )
  assert json.loads(exported_tokenizers.to_json(bare, RAW)) == document


def test_a_folder_names_the_special_tokens(ours, tmp_path):
  exported_tokenizers.write_folder(ours, CLEANED, tmp_path, 128)
  read = lambda name: json.loads((tmp_path / name).read_text())
  special = {
    'pad_token': '[PAD]',
    'unk_token': '[UNK]',
    'cls_token': '[CLS]',
    'sep_token': '[SEP]',
    'mask_token': '[MASK]',
  }
  assert read('special_tokens_map.json') == special
  settings_ = read('tokenizer_config.json')
  assert special.items() < settings_.items() and settings_['model_max_length'] == 128
  assert settings_['model_input_names'] == ['input_ids', 'attention_mask']
  assert imported_tokenizers.from_folder(tmp_path) == exported_tokenizers.to_json(ours, RAW)
  exported_tokenizers.write_folder(ours, CLEANED, tmp_path, 128, types=2)
  assert 'token_type_ids' in read('tokenizer_config.json')['model_input_names']


