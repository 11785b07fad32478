"""Tokenizers that are exported, raw text and masks included: against the `tokenizers` library."""

import functools
import json
import math
import random
import tarfile

import numpy as np
import pytest
import sentencepiece
import tokenizers

from mlm_jax import config
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.corpus import clean
from mlm_jax.data.tokenizers import sentencepiece_model
from mlm_jax.huggingface import exported_tokenizers
from mlm_jax.huggingface import imported_tokenizers
from tests.data.invented import odd_texts
from tests.data.invented import sentences
from tests.data.invented import settings

TEXTS = sentences(300) + ['naïve (café), x_1: 3.14!', '日本語の文です。東京へ行く', 'ไทย ภาษา'] * 20
NAMES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
CLEANED = settings()
RAW_SETTINGS = dict(
  unicode='none', control_characters='keep', white_space='keep', boundary_mark='keep'
)
RAW = settings(**RAW_SETTINGS)


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
  return tokenizers.Tokenizer.from_buffer(exported_tokenizers.to_json(ours, CLEANED))


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


ODD = (
  *('\r\n', '\t', ' ', ' ', '  ', '\n\n', '\xa0', '\ufeff', '\x00', '\x85', '\u2028', '\x1c'),
  *('e\u0301', 'e\ufeff\u0301', '\u1112\u1161\u11ab', '\u1112\ufeff\u1161', '\u0345\u0334', '\x9f'),
  *('[MASK]', ' [MASK] ', '\n[MASK]\n', '[MA\x00SK]', '[mask]', '\u2581[MASK]', '[\xadMASK]'),
  *('👩\u200d👧', '日本語', 'ไทย', 'ﬁ', '①', '\ufffd', 'fi', 'Du', '.', '-----', 'a' * 70),
  *('\u0898\u0301', '\u2581', '<0x0A>'),
)


def raw_texts(n):
  """Returns texts as files have them, with masks among them."""
  draw = random.Random(3)
  texts = [''.join(draw.choices(ODD, k=draw.randint(0, 20))) for _ in range(n)]
  return texts + ['\r\n'.join(TEXTS[i : i + 4]) for i in range(0, 40, 4)] + ['=' * 1000]


def assert_cuts_alike(ours, data, texts):
  """Compares ids of texts in the run and in its export."""
  theirs = tokenizers.Tokenizer.from_buffer(exported_tokenizers.to_json(ours, data))
  named = [text.replace('[MASK]', ours.piece(ours.mask_id)) for text in texts]
  for text, encoding in zip(texts, theirs.encode_batch(named), strict=True):
    assert encoding.ids == ours.encode_text(text, data, has_masks=True).tolist(), ascii(text)


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'white_space': 'keep'},
    pytest.param({'unicode': 'NFKC', 'control_characters': 'keep'}, marks=pytest.mark.slow),
    pytest.param({'unicode': 'none', 'boundary_mark': 'keep'}, marks=pytest.mark.slow),
    pytest.param(dict(RAW_SETTINGS), marks=pytest.mark.slow),
  ],
)
def test_an_export_cuts_raw_text_as_its_run_does(ours, changes):
  assert_cuts_alike(ours, settings(**changes), raw_texts(300))


@pytest.mark.parametrize('library', ['bpe', 'unigram', 'byte_bpe'])
def test_an_export_of_kept_white_space_keeps_it(library):
  data = settings(white_space='keep', control_characters='keep')
  assert_cuts_alike(train(library, white_space='keep'), data, raw_texts(300))


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['unigram', 'byte_bpe', 'bpe', 'word', 'wordpiece'])
def test_no_window_of_a_corpus_is_cut_otherwise(kind, shared):
  draw = random.Random(4)
  with tarfile.open(shared / 'peps' / 'peps.tar.xz') as archive:
    files = [archive.extractfile(each) for each in list(archive)[::20]]
    texts = [file.read().decode() for file in files if file]
  texts += [path.read_text() for path in sorted((shared / 'ud_multilingual').glob('*.txt'))]
  data = settings(tokenizer=kind, vocab_size=4000)
  sample = [clean.given(text, data) for text in texts]
  windows = [
    text[begin : begin + draw.choice((10, 1000, 1000, 3000))]
    for text in texts
    for begin in (draw.randrange(len(text)) for _ in range(50))
  ]
  assert_cuts_alike(tokenizer_lib.make(tokenizer_lib.train(sample, data)), data, windows)


def test_an_export_is_the_same_tokenizer_when_read_here(kind, ours):
  again = tokenizer_lib.make(exported_tokenizers.to_json(ours, CLEANED))
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
  theirs = tokenizers.Tokenizer.from_buffer(exported_tokenizers.to_json(turned, CLEANED))
  for text in cleaned(300):
    assert theirs.encode(text).ids[1:-1] == turned.encode(text)


def test_the_name_of_a_special_piece_in_a_text_is_taken_for_the_piece(ours, theirs):
  for name in NAMES:
    i = NAMES.index(name)
    assert i in theirs.encode(f'a {name} b').ids[1:-1]
    assert i == ours.unk_id or i not in ours.encode(f'a {name} b')


def test_cuts_that_are_equally_good_are_cut_alike():
  """Runs of one letter can be cut in many ways of the same score, as words of any length can."""
  texts = [letter * n for letter in 'aei' for n in range(2, 400, 3)] + sentences(100)
  data = settings(tokenizer='unigram', vocab_size=300)
  ours = tokenizer_lib.make(tokenizer_lib.train(texts, data))
  texts += ['a' * 30_000, ' '.join(texts), ' '.join(sentences(2000)), '<0x0A> <0x41>' * 50]
  assert_cuts_alike(ours, data, texts)
  score = [piece.score for piece in sentencepiece_model.parse(ours.model, '').pieces]
  oracle = sentencepiece.SentencePieceProcessor(model_proto=ours.model)
  for text in texts[:300]:
    ids = ours.encode(text)
    assert ours.decode(ids) == text
    # As good as SentencePiece's own, but for the rounding of the scores.
    best = math.fsum(score[i] for i in oracle.encode(text))
    assert math.fsum(score[i] for i in ids) == pytest.approx(best, abs=2**-10 * len(ids))


def test_words_of_one_letter_cannot_be_written():
  data = settings(tokenizer='word', vocab_size=300, white_space='keep')
  ours = tokenizer_lib.make(tokenizer_lib.train(TEXTS, data))
  with pytest.raises(
    config.UserError, match='cannot be written as tokenizer.json, .* words, some of one letter'
  ):
    exported_tokenizers.to_json(ours, data)


@pytest.mark.parametrize('library', ['wordpiece', 'byte_bpe'])
def test_a_tokenizer_json_stays_as_it_is_where_nothing_is_cleaned(library):
  ours = train(library)
  assert exported_tokenizers.to_json(ours, RAW) == ours.model
  document = json.loads(ours.model)
  others = json.dumps(json.loads(ours.model) | {'padding': None}, indent=3).encode()
  assert exported_tokenizers.to_json(tokenizer_lib.make(others), RAW) == others
  bare = tokenizer_lib.make(
    json.dumps(document | {'post_processor': None, 'decoder': None}).encode()
  )
  assert json.loads(exported_tokenizers.to_json(bare, RAW)) == document
  # What was exported cleans by itself, once.
  cleaned_ = exported_tokenizers.to_json(ours, CLEANED)
  assert exported_tokenizers.to_json(tokenizer_lib.make(cleaned_), CLEANED) == cleaned_


def test_lower_case_letters_are_no_mask():
  document = json.loads(train('wordpiece').model)
  document['normalizer']['lowercase'] = True
  ours = tokenizer_lib.make(json.dumps(document).encode())
  assert_cuts_alike(ours, CLEANED, raw_texts(300))
  assert ours.mask_id not in ours.encode_text('a [mask] b', CLEANED, has_masks=True)


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
  assert imported_tokenizers.from_folder(tmp_path) == exported_tokenizers.to_json(ours, CLEANED)
  exported_tokenizers.write_folder(ours, CLEANED, tmp_path, 128, types=2)
  assert 'token_type_ids' in read('tokenizer_config.json')['model_input_names']
