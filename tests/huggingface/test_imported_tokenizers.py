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
from mlm_jax.huggingface import imported_tokenizers
from tests.data.invented import odd_texts
from tests.data.invented import sentences
from tests.data.invented import settings

TEXTS = sentences(300) + ['naïve (café), x_1: 3.14!', '日本語の文です。東京へ行く', 'ไทย ภาษา'] * 20
NAMES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']


def train(kind, **changes):
  return tokenizer_lib.make(
    tokenizer_lib.train(TEXTS, settings(tokenizer=kind, vocab_size=450, **changes))
  )


# Folders of others


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
  texts = cleaned(500) + ['Ünïcode ÉCOLE 日本 İ']
  for text, ids, encoding in zip(
    texts, ours.encode_batch(texts), oracle.encode_batch(texts), strict=True
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
  assert ours.special_ids == ((0, 1, 2, 3, 450, 451) if outside else (0, 1, 2, 3, 4))
  texts = cleaned(500)
  for text, ids, encoding in zip(
    texts, ours.encode_batch(texts), oracle.encode_batch(texts), strict=True
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


@pytest.mark.parametrize(
  'added',
  [
    None,
    pytest.param({'[MASK]': 400}, marks=pytest.mark.slow),
    {'[SEP]': 2, '[MASK]': 401, '[NEW]': 400},
  ],
)
def test_a_mask_outside_a_sentencepiece_model_becomes_a_control_piece(added, tmp_path):
  (tmp_path / 'spm.model').write_bytes(spm())
  if added:
    (tmp_path / 'added_tokens.json').write_text(json.dumps(added))
  ours = tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path))
  mask = (added or {'[MASK]': 400})['[MASK]']
  assert [ours.pad_id, ours.cls_id, ours.sep_id, ours.unk_id, ours.mask_id] == [0, 1, 2, 3, mask]
  assert ours.size == mask + 1 and ours.special_ids == (0, 1, 2, 3, *range(400, mask + 1))
  oracle = sentencepiece.SentencePieceProcessor(model_proto=spm())
  for text in cleaned(100):
    assert ours.encode(text) == oracle.encode(text)
  assert mask not in ours.encode('a [MASK]') and mask in ours.encode_with_masks('a [MASK]')


def test_an_export_normalises_as_the_model_does(tmp_path):
  (tmp_path / 'spm.model').write_bytes(spm(normalization_rule_name='nmt_nfkc_cf', vocab_size=380))
  ours = tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path))
  theirs = tokenizers.Tokenizer.from_buffer(exported_tokenizers.to_json(ours, RAW))
  for text in sentences(50, seed=6) + ['ＦＩＬＥ ﬁle Ⅳ', 'ÀÉ ½']:
    assert theirs.encode(text).ids[1:-1] == ours.encode(text)


def test_tokenizer_json_goes_before_the_other_files(tmp_path):
  (tmp_path / 'spm.model').write_bytes(spm())
  (tmp_path / 'vocab.txt').write_text('\n'.join(NAMES) + '\n')
  assert tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path)).size == 5
  (tmp_path / 'tokenizer.json').write_bytes(train('byte_bpe').model)
  assert tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path)).size == 450


@pytest.mark.parametrize(
  'files, message',
  [
    (
      {},
      'has no tokenizer: it must have tokenizer.json, vocab.txt, vocab.json with merges.txt, or '
      'spm.model',
    ),
    ({'vocab.json': b'{}'}, 'has no tokenizer'),
    ({'vocab.txt': b'[CLS]\n[PAD]\n'}, 'has no sep piece'),
    ({'vocab.txt': b'[CLS]\n[SEP]\n[PAD]\n[UNK]\n'}, 'has no mask piece'),
    ({'vocab.txt': b'\xff\n'}, 'vocab.txt is damaged: it must be text in UTF-8'),
    (
      {'vocab.txt': b'[CLS]\n[SEP]\n', 'tokenizer_config.json': b'{'},
      'tokenizer_config.json is damaged',
    ),
    ({'vocab.json': b'[]', 'merges.txt': b''}, 'vocab.json is damaged: it must hold a JSON object'),
    (
      {
        'vocab.json': b'{"<s>": 0, "</s>": 1, "<pad>": 2, "<mask>": 3, "<unk>": 4}',
        'merges.txt': b'#version: 0.2\nx\n',
      },
      'not a tokenizer.json, or is damaged',
    ),
    ({'tokenizer.json': b'{"a": 1}'}, 'not a tokenizer.json, or is damaged'),
    ({'spm.model': b'no model'}, 'not a SentencePiece model'),
    (
      {'spm.model': None, 'tokenizer_config.json': b'{"do_lower_case": true}'},
      'do_lower_case with spm.model',
    ),
    ({'spm.model': None, 'added_tokens.json': b'{"[MASK]": 450}'}, 'must follow its 400 pieces'),
    ({'spm.model': None, 'added_tokens.json': b'{"[SEP]": 400}'}, 'must follow its 400 pieces'),
    ({'spm.model': None, 'added_tokens.json': b'{"[NEW]": 400}'}, 'has no mask piece'),
  ],
)
def test_folders_that_cannot_be_read_are_refused(files, message, tmp_path):
  for name, content in files.items():
    (tmp_path / name).write_bytes(spm() if content is None else content)
  with pytest.raises(config.UserError, match=message) as e:
    tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path), str(tmp_path))
  assert '\n' not in str(e.value) and str(tmp_path) in str(e.value)
