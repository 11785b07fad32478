import collections
import io

import numpy as np
import pytest
import sentencepiece

from mlm_jax import config
from mlm_jax.config import limits
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.tokenizers import base
from mlm_jax.data.tokenizers import tokenizer_json
from tests.data.invented import odd_texts
from tests.data.invented import sentences
from tests.data.invented import settings
from tests.data.invented import words_of

TEXTS = sentences(300) + ['naïve (café), x_1: 3.14!', '日本語の文です。東京へ行く', 'ไทย ภาษา'] * 20


@pytest.fixture(scope='module', params=['unigram', 'bpe'])
def tokenizer(request):
  data = settings(tokenizer=request.param, vocab_size=450)
  return tokenizer_lib.make(tokenizer_lib.train(TEXTS, data))


@pytest.mark.parametrize('space', ['collapse', 'keep'])
def test_decoding_undoes_encoding(tokenizer, space):
  data = settings(white_space=space, control_characters='keep')
  for text in odd_texts(1000, data):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_batch_is_encoded_as_its_texts_are(tokenizer):
  texts = odd_texts(50, settings()) + ['', ' '.join(sentences(200))]
  for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
    assert ids.tolist() == tokenizer.encode(text)


def test_a_long_text_is_encoded_as_its_parts_are(tokenizer, monkeypatch):
  text = ' '.join(sentences(100))
  whole = tokenizer.encode(text)
  monkeypatch.setattr(tokenizer, '_exact', 50 if tokenizer._exact else 0)
  monkeypatch.setattr(tokenizer_json, '_STRETCH', 50)
  assert tokenizer.encode(text) == whole
  assert tokenizer.decode(tokenizer.encode('日' * 300)) == '日' * 300


def test_a_text_is_cleaned_encoded_and_put_between_its_marks(tokenizer):
  data = settings()
  raw = ' e\u0301tude\x07 [MASK]\n du\ud800 ma\u2581. '
  cleaned = 'étude [MASK] du\ufffd ma_.'
  for has_masks, encode in ((False, tokenizer.encode), (True, tokenizer.encode_with_masks)):
    row = tokenizer.encode_text(raw, data, has_masks)
    assert row.dtype == np.int32
    assert row.tolist() == [tokenizer.cls_id, *encode(cleaned), tokenizer.sep_id]
    assert (tokenizer.mask_id in row) == has_masks
  assert tokenizer.encode_text(' \n', data).tolist() == [tokenizer.cls_id, tokenizer.sep_id]


@pytest.mark.parametrize('stretch', [50, 4096])
def test_each_piece_is_where_its_first_letter_is(tokenizer, monkeypatch, stretch):
  monkeypatch.setattr(tokenizer_json, '_STRETCH', stretch)
  texts = odd_texts(300, settings(white_space='keep', control_characters='keep')) + [
    '',
    ' ',
    'a  ',
    '  😀 é 日',
    ' '.join(sentences(20)),
  ]
  for text in texts:
    ids, places = tokenizer.encode_with_places(text)
    assert ids.tolist() == tokenizer.encode(text)
    assert places.dtype == np.int64 and len(places) == len(ids)
    spelled = b''  # of the pieces so far, the space before the text among them
    for i, place in zip(ids, places):
      before = len(spelled.decode('utf-8', 'ignore')) - 1  # characters that are whole
      letters = f' {text}'[before + 1 :]
      wanted = before + len(letters) - len(letters.lstrip())
      assert place == wanted, (text, tokenizer.piece(i))
      spelled += (
        bytes([int(tokenizer.piece(i)[1:-1], 16)])
        if i in tokenizer.byte_ids
        else tokenizer.piece(i).replace('\u2581', ' ').encode()
      )


def test_sentences_close_and_punctuation_has_no_letters(tokenizer):
  assert tokenizer.closes_V.dtype == tokenizer.letters_V.dtype == bool
  named = {tokenizer.piece(i): i for i in range(tokenizer.size)}
  for piece, closes, letters in (
    ('.', 1, 0),
    ('!', 1, 0),
    ('。', 1, 0),
    (',', 0, 0),
    ('▁', 0, 0),
    ('日', 0, 1),
    ('3', 0, 1),
    ('a', 0, 1),
    ('<0xE2>', 0, 1),
    ('<0x41>', 0, 1),
    ('<0x2E>', 0, 0),
    ('[SEP]', 0, 0),
  ):
    if piece in named or piece not in ',3':
      assert (tokenizer.closes_V[named[piece]], tokenizer.letters_V[named[piece]]) == (
        closes,
        letters,
      ), piece
  table = tokenizer.table(classes=('a', 'b'))
  assert np.array_equal(table.closes_V, tokenizer.closes_V) and table.classes == ('a', 'b')


def test_text_cannot_forge_a_special_piece(tokenizer):
  text = '[MASK] [CLS][SEP] [PAD]<unk>[UNK] \u2581[MASK]'
  assert not set(tokenizer.encode(text)) & set(tokenizer.special_ids)
  assert tokenizer.special_ids == (0, 1, 2, 3, 4)
  assert [
    tokenizer.piece(i)
    for i in (
      tokenizer.pad_id,
      tokenizer.unk_id,
      tokenizer.cls_id,
      tokenizer.sep_id,
      tokenizer.mask_id,
    )
  ] == ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']


def test_a_mask_takes_the_place_of_a_word(tokenizer):
  text = sentences(1)[0]
  words = text.removesuffix('.').split(' ')
  encode = tokenizer.encode
  for i in range(len(words)):
    masked = ' '.join(words[:i] + ['[MASK]'] + words[i + 1 :]) + '.'
    rest = (' ' if i + 1 < len(words) else '') + ' '.join(words[i + 1 :]) + '.'
    after = tokenizer._encode([rest])[0].tolist()
    assert tokenizer.encode_with_masks(masked) == (
      (encode(' '.join(words[:i])) if i else []) + [tokenizer.mask_id] + after
    )
  assert tokenizer.encode_with_masks(text) == encode(text)
  assert tokenizer.encode_with_masks('[MASK] [MASK][MASK]') == [tokenizer.mask_id] * 3


def test_words_start_at_spaces_punctuation_and_characters_of_scripts_without_spaces(tokenizer):
  text = sentences(1)[0]
  assert words_of(tokenizer, text) == text.removesuffix('.').split(' ') + ['.']
  assert [w for w in words_of(tokenizer, 'naïve (café), x_1') if w] == [
    'naïve',
    '(',
    'café',
    ')',
    ',',
    'x',
    '_',
    '1',
  ]
  for i in range(tokenizer.size):
    bare = tokenizer.piece(i).lstrip('\u2581')
    if i not in tokenizer.special_ids and bare in ('.', ',', '日本', '。', 'ไทย'):
      assert tokenizer.starts_V[i] and tokenizer.ends_V[i]


def test_training_again_gives_the_same_bytes():
  data = settings(vocab_size=400)
  assert tokenizer_lib.train(TEXTS, data) == tokenizer_lib.train(TEXTS, data)


def test_training_writes_nothing_to_the_terminal(capfd):
  tokenizer_lib.train(TEXTS, settings(vocab_size=400))
  assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('kind', ['unigram', 'bpe'])
@pytest.mark.parametrize(
  'size, message',
  [(8000, r'at most \d+ pieces; lower it'), (300, r'need at least 5\d\d; raise it')],
)
def test_a_vocabulary_that_the_corpus_cannot_give_is_refused(kind, size, message, capfd):
  texts = TEXTS + ([''.join(map(chr, range(0x4E00, 0x4F00)))] * 9 if size == 300 else [])
  with pytest.raises(config.UserError, match=f'config.data.vocab_size = {size}: .*{message}'):
    tokenizer_lib.train(texts, settings(tokenizer=kind, vocab_size=size))
  assert capfd.readouterr() == ('', '')


def test_the_kind_word_has_a_piece_for_each_frequent_word_and_bytes_for_the_others():
  data = settings(tokenizer='word', vocab_size=400)
  words = tokenizer_lib.make(tokenizer_lib.train(TEXTS, data))
  counts = collections.Counter(word for text in TEXTS for word in text.split(' '))
  pieces = {words.piece(i).removeprefix('\u2581') for i in range(261, 400)}
  least = min(counts[piece] for piece in pieces)
  assert all(word in pieces for word, n in counts.items() if n > least)
  for text in odd_texts(300, settings(white_space='keep')):
    assert words.decode(words.encode(text)) == text
  for word in set(' '.join(TEXTS).split(' ')):
    ids = words.encode(word)
    assert len(ids) == 1 if word in pieces else len(ids) == len(word.encode()) + 3
  with pytest.raises(
    config.UserError, match='config.data.vocab_size = 8000: .*at most \\d+ pieces; lower it'
  ):
    tokenizer_lib.train(TEXTS, settings(tokenizer='word', vocab_size=8000))


def model(**changes):
  out = io.BytesIO()
  options = dict(
    vocab_size=400, byte_fallback=True, pad_id=3, control_symbols=['<mask>'], minloglevel=2
  )
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXTS), model_writer=out, **options | changes
  )
  return out.getvalue()


def test_an_existing_model_is_taken_with_the_names_it_has(tmp_path):
  plain = sentencepiece.SentencePieceProcessor(model_proto=model())
  (tmp_path / 'm.model').write_bytes(model())
  tokenizer = tokenizer_lib.load(tmp_path / 'm.model')
  assert [
    tokenizer.piece(i)
    for i in (
      tokenizer.pad_id,
      tokenizer.unk_id,
      tokenizer.cls_id,
      tokenizer.sep_id,
      tokenizer.mask_id,
    )
  ] == ['<pad>', '<unk>', '<s>', '</s>', '<mask>']
  for text in sentences(20, seed=3):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode(text) == plain.encode(text)


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(control_symbols=[]), 'has no mask piece'),
    (dict(pad_id=-1), 'has no pad piece'),
    (dict(control_symbols=[], user_defined_symbols=['<mask>']), 'could forge'),
  ],
)
def test_a_model_without_its_special_pieces_is_refused(changes, message):
  with pytest.raises(config.UserError, match=message):
    tokenizer_lib.make(model(**changes), 'm.model')


def test_what_is_not_a_model_is_refused(tmp_path):
  (tmp_path / 'm.model').write_bytes(b'not a model')
  with pytest.raises(config.UserError, match='not a SentencePiece model'):
    tokenizer_lib.load(tmp_path / 'm.model')
  with pytest.raises(config.UserError, match='cannot read .*absent'):
    tokenizer_lib.load(tmp_path / 'absent')


def test_the_table_fits_the_model(tokenizer):
  table = tokenizer.table(np.ones(tokenizer.size))
  assert (table.size, table.mask_id, table.special_ids) == (
    450,
    tokenizer.mask_id,
    tokenizer.special_ids,
  )


def test_pieces_of_whole_and_part_characters_start_and_end_words_by_what_is_whole():
  rows = (  # piece, starts, ends, closes, letters
    ('▁a', 1, 0, 0, 1),
    ('a', 0, 0, 0, 1),
    ('▁', 1, 0, 0, 0),
    ('。', 1, 1, 1, 0),
    ('▁(', 1, 1, 0, 0),
    ('<0xE3>', 0, 0, 0, 1),
    ('<0x2E>', 0, 0, 0, 0),
    ('<0x41>', 0, 0, 0, 1),
    ('▁<0xE3>', 1, 0, 0, 1),
    ('。<0xE3>', 1, 0, 0, 1),
    ('<0x82>。', 0, 1, 1, 1),
    ('日<0xE3>', 1, 0, 0, 1),
    ('<0x82>a', 0, 0, 0, 1),
    ('<0x82>><0xE3>', 0, 0, 0, 1),
    ('<0x82>>', 0, 1, 0, 1),
  )
  pieces = [*base.SPECIAL, *(row[0] for row in rows)]
  roles = dict(zip(base.NAMES, range(5)))
  byte_ids = [i for i, piece in enumerate(pieces) if '<0x' in piece]
  made = base.Tokenizer(b'', 'x', pieces, roles, range(5), byte_ids, is_prefixed=True)
  for i, (piece, *wanted) in enumerate(rows, 5):
    assert [made.starts_V[i], made.ends_V[i], made.closes_V[i], made.letters_V[i]] == wanted, piece
  ids = {piece: i for i, piece in enumerate(pieces)}
  assert (
    made.decode([2, ids['▁a'], ids['日<0xE3>'], ids['<0x82>。'], 3]) == '[CLS] a日\ufffd。 [SEP]'
  )


def test_the_config_knows_what_can_be_trained():
  assert limits.TOKENIZERS == tokenizer_lib.TRAINED
