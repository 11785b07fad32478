"""Tokenizers of Hugging Face folders: against the `tokenizers` library."""

import io
import json
from typing import Any

import pytest
import sentencepiece
from tokenizers import implementations

from mlm_jax import config
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.huggingface import imported_tokenizers
from tests.data.invented import odd_texts
from tests.data.invented import sentences
from tests.data.invented import settings

TEXTS = sentences(300) + ['naïve (café), x_1: 3.14!', '日本語の文です。東京へ行く', 'ไทย ภาษา'] * 20
NAMES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']


def texts(n):
  """Returns odd texts without names of special pieces."""
  some = odd_texts(n, settings()) + TEXTS
  return [text for text in some if not any(name in text for name in NAMES)]


def read(folder) -> Any:
  return tokenizer_lib.make(imported_tokenizers.from_folder(folder), str(folder))


def write(folder, **files):
  """Writes .json files, by their names."""
  for name, content in files.items():
    (folder / f'{name}.json').write_text(json.dumps(content))


@pytest.mark.parametrize(
  'lower, accents, chinese',
  [
    (None, None, None),
    pytest.param(False, None, True, marks=pytest.mark.slow),
    (True, False, False),
  ],
)
def test_vocab_txt_is_read_as_bert_reads_it(lower, accents, chinese, tmp_path):
  oracle = implementations.BertWordPieceTokenizer(
    lowercase=lower is not False, strip_accents=accents, handle_chinese_chars=chinese is not False
  )
  oracle.train_from_iterator(
    TEXTS + [text.upper() for text in TEXTS], vocab_size=400, show_progress=False
  )
  oracle.save_model(str(tmp_path))
  given = {'do_lower_case': lower, 'strip_accents': accents, 'tokenize_chinese_chars': chinese}
  if given := {key: value for key, value in given.items() if value is not None}:
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(given))
  oracle = implementations.BertWordPieceTokenizer(
    str(tmp_path / 'vocab.txt'),
    lowercase=lower is not False,
    strip_accents=accents,
    handle_chinese_chars=chinese is not False,
  )
  ours: Any = tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path))
  assert ours.kind == 'wordpiece' and ours.size == oracle.get_vocab_size()
  given = texts(500) + ['Ünïcode ÉCOLE 日本 İ']
  for text, ids, encoding in zip(
    given, ours.encode_batch(given), oracle.encode_batch(given), strict=True
  ):
    assert [ours.cls_id, *ids, ours.sep_id] == encoding.ids, text


@pytest.mark.parametrize(
  'prefix, outside',
  [
    (None, False),
    (True, True),
    pytest.param(None, True, marks=pytest.mark.slow),
    pytest.param(True, False, marks=pytest.mark.slow),
  ],
)
def test_merges_are_read_as_roberta_reads_them(prefix, outside, tmp_path):
  special = ['<s>', '<pad>', '</s>', '<unk>'] + ['<mask>'] * (not outside)
  oracle = implementations.ByteLevelBPETokenizer(add_prefix_space=bool(prefix))
  oracle.train_from_iterator(TEXTS, vocab_size=450, special_tokens=special, show_progress=False)
  oracle.save_model(str(tmp_path))
  if prefix:
    (tmp_path / 'tokenizer_config.json').write_text('{"add_prefix_space": true}')
  if outside:
    (tmp_path / 'added_tokens.json').write_text('{"<mask>": 450, "<more>": 451}')
  ours: Any = tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path))
  assert (ours.kind, ours.size) == ('byte_level', 452 if outside else 450)
  assert ours.mask_id == (450 if outside else 4) and (ours.cls_id, ours.pad_id) == (0, 1)
  assert ours.special_ids == ((0, 1, 2, 3, 450) if outside else (0, 1, 2, 3, 4))
  given = texts(500)
  for text, ids, encoding in zip(
    given, ours.encode_batch(given), oracle.encode_batch(given), strict=True
  ):
    assert [*ids] == encoding.ids, text


def spm(**options):
  """Returns the bytes of a model as DeBERTa's, which has no [MASK]."""
  out = io.BytesIO()
  names = dict(zip(('pad', 'bos', 'eos', 'unk'), ('[PAD]', '[CLS]', '[SEP]', '[UNK]')))
  options = {
    'vocab_size': 400,
    **options,
    **{f'{key}_id': i for i, key in enumerate(names)},
    **{f'{key}_piece': name for key, name in names.items()},
  }
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXTS), model_writer=out, minloglevel=2, **options
  )
  return out.getvalue()


def fairseq(**options):
  """Returns the bytes of a model as CamemBERT's and XLM-R's."""
  out = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXTS), model_writer=out, minloglevel=2, vocab_size=390, **options
  )
  return out.getvalue()


@pytest.mark.parametrize(
  'added, mask',
  [(None, 400), ({'[MASK]': 400}, 400), ({'[SEP]': 2, '[MASK]': 401, '[NEW]': 400}, 401)],
)
def test_a_mask_outside_a_sentencepiece_model_follows_its_pieces(added, mask, tmp_path):
  (tmp_path / 'spm.model').write_bytes(spm(normalization_rule_name='identity'))
  if added:
    write(tmp_path, added_tokens=added)
  ours = read(tmp_path)
  assert [ours.pad_id, ours.cls_id, ours.sep_id, ours.unk_id, ours.mask_id] == [0, 1, 2, 3, mask]
  assert ours.size == mask + 1
  oracle = sentencepiece.SentencePieceProcessor(model_proto=spm(normalization_rule_name='identity'))
  for text in TEXTS[:100]:
    assert ours.encode(text) == oracle.encode(text)
  assert mask not in ours.encode('a [MASK]') and mask in ours.encode_with_masks('a [MASK]')
  assert (400 in ours.encode('a [NEW] b')) == (mask == 401)


@pytest.mark.parametrize('model, before', [('xlm-roberta', 1), ('camembert', 4)])
def test_pieces_of_fairseq_follow_its_own(model, before, tmp_path):
  (tmp_path / 'sentencepiece.bpe.model').write_bytes(fairseq())
  write(tmp_path, config={'model_type': model})
  ours = read(tmp_path)
  oracle = sentencepiece.SentencePieceProcessor(model_proto=fairseq())
  # XLM-R: <s> <pad> </s> <unk> and the pieces but for <unk> <s> </s>; CamemBERT keeps the latter.
  cls, sep = (0, 2) if model == 'xlm-roberta' else (5, 6)
  assert [ours.cls_id, ours.pad_id, ours.sep_id, ours.unk_id] == [cls, 1, sep, 3]
  assert ours.mask_id == ours.size - 1 == 390 + before
  for text in TEXTS[:300]:
    assert ours.encode(text) == [i + before if i else 3 for i in oracle.encode(text)]


def test_tokens_that_are_added_beside_vocab_txt_are_found(tmp_path):
  pieces = [*NAMES, 'the', 'z', '##y', 'lamp']
  (tmp_path / 'vocab.txt').write_text('\n'.join(pieces) + '\n')
  encode = lambda text: read(tmp_path).encode(text)
  assert encode('The zy lamp') == [5, 6, 7, 8]
  write(tmp_path, added_tokens={'covid': 9, 'zy': 10})
  assert encode('the covid zy lamp Covid') == [5, 9, 10, 8, 9]
  entry = {'content': 'covid', 'lstrip': True, 'rstrip': False, 'single_word': True}
  entry |= {'normalized': False, 'special': False}
  write(tmp_path, tokenizer_config={'added_tokens_decoder': {'9': entry}})
  assert encode('the covid zycovid lamp') == [5, 9, 1, 8]
  write(tmp_path, special_tokens_map={'additional_special_tokens': ['zy']}, tokenizer_config={})
  (tmp_path / 'added_tokens.json').unlink()
  assert encode('the zy lamp') == [5, 9, 8]


def test_an_added_token_with_the_space_before_it_is_a_word(tmp_path):
  write_byte_level(tmp_path)
  entry = {'content': 'covid', 'lstrip': True, 'rstrip': True, 'single_word': False}
  entry |= {'normalized': False, 'special': False}
  write(tmp_path, tokenizer_config={'added_tokens_decoder': {'450': entry}})
  ours = read(tmp_path)
  ids = ours.encode('fi covid du')
  assert ids == [*ours.encode('fi'), 450, *ours.encode('du')]
  assert (
    ours.starts_V[450] and ours.ends_V[450] and ours.decode([*ours.encode('fi'), 450]) == 'fi covid'
  )


def write_byte_level(folder):
  oracle = implementations.ByteLevelBPETokenizer()
  special = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']
  oracle.train_from_iterator(TEXTS, vocab_size=450, special_tokens=special, show_progress=False)
  oracle.save_model(str(folder))
  return oracle


def test_settings_of_a_class_go_before_a_tokenizer_json(tmp_path):
  pieces = [*NAMES, 'The', 'the', '日', '##本', '本']
  (tmp_path / 'vocab.txt').write_text('\n'.join(pieces) + '\n')
  lowercased = imported_tokenizers.from_folder(tmp_path)
  (tmp_path / 'tokenizer.json').write_bytes(lowercased)
  write(tmp_path, config={'model_type': 'bert'}, tokenizer_config={'do_lower_case': True})
  assert read(tmp_path).encode('The 日本') == [6, 7, 9]
  assert imported_tokenizers.from_folder(tmp_path) == lowercased  # byte for byte where they agree
  write(tmp_path, tokenizer_config={'do_lower_case': False, 'tokenize_chinese_chars': False})
  assert read(tmp_path).encode('The 日本') == [5, 7, 8]
  write(tmp_path, tokenizer_config={'tokenizer_class': 'PreTrainedTokenizerFast'})
  assert imported_tokenizers.from_folder(tmp_path) == lowercased


def test_a_byte_level_tokenizer_json_is_given_the_space_that_its_settings_say(tmp_path):
  write_byte_level(tmp_path)
  write(tmp_path, config={'model_type': 'roberta'})
  plain = imported_tokenizers.from_folder(tmp_path)
  (tmp_path / 'tokenizer.json').write_bytes(plain)
  assert imported_tokenizers.from_folder(tmp_path) == plain
  write(tmp_path, tokenizer_config={'add_prefix_space': True})
  assert read(tmp_path).encode('fi du') == tokenizer_lib.make(plain).encode(' fi du')


def test_tokenizer_json_goes_before_the_other_files(tmp_path):
  (tmp_path / 'spm.model').write_bytes(spm())
  (tmp_path / 'vocab.txt').write_text('\n'.join(NAMES) + '\n')
  data = settings(tokenizer='byte_bpe', vocab_size=450)
  (tmp_path / 'tokenizer.json').write_bytes(tokenizer_lib.train(TEXTS, data))
  assert read(tmp_path).size == 450


VOCAB = '\n'.join(NAMES).encode()


@pytest.mark.parametrize(
  'files, message',
  [
    ({}, 'has no tokenizer: it must have tokenizer.json'),
    (
      {'vocab.json': b'{}'},
      'has no tokenizer: it must have tokenizer.json or vocab.json with merges',
    ),
    ({'vocab.txt': b'[CLS]\n[PAD]\n'}, 'has no unk piece'),
    ({'vocab.txt': b'\xff\n'}, 'vocab.txt is damaged'),
    ({'vocab.txt': VOCAB, 'tokenizer_config.json': b'{'}, 'tokenizer_config.json is damaged'),
    ({'vocab.txt': VOCAB, 'added_tokens.json': b'{"a": {}}'}, 'the added tokens are damaged'),
    (
      {'vocab.txt': VOCAB, 'tokenizer_config.json': b'{"added_tokens_decoder": {"x": 1}}'},
      'the added tokens are damaged',
    ),
    (
      {'vocab.txt': VOCAB, 'tokenizer_config.json': b'{"mask_token": "<m>"}'},
      'its mask_token is <m>, but its vocabulary has ',
    ),
    (
      {'vocab.txt': VOCAB, 'config.json': b'{"tokenizer_class": "AlbertTokenizerFast"}'},
      'the tokenizer_class AlbertTokenizerFast is not known',
    ),
    ({'vocab.json': b'[]', 'merges.txt': b''}, 'vocab.json with merges.txt is damaged'),
    (
      {
        'vocab.json': b'{"<s>": 0, "</s>": 1, "<pad>": 2, "<mask>": 3, "<unk>": 4}',
        'merges.txt': b'#version: 0.2\nx\n',
      },
      'vocab.json with merges.txt is damaged',
    ),
    ({'tokenizer.json': b'{"a": 1}'}, 'tokenizer.json is damaged'),
    ({'tokenizer.json': b'[' * 100_000}, 'tokenizer.json is damaged'),
    ({'spm.model': b'no model'}, 'not a SentencePiece model'),
  ],
)
def test_folders_that_cannot_be_read_are_refused(files, message, tmp_path):
  for name, content in files.items():
    (tmp_path / name).write_bytes(content)
  with pytest.raises(config.UserError, match=message) as e:
    tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path), str(tmp_path))
  assert '\n' not in str(e.value) and str(tmp_path) in str(e.value)
