"""Cleaning as a normalizer of a tokenizer.json: against `clean.given`, and beside a file's own."""

import functools
import json
import random
import unicodedata

import pytest
import tokenizers

from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import normal_forms
from mlm_jax.huggingface import imported_tokenizers
from mlm_jax.huggingface import normalizers
from tests.data.invented import settings
from tests.huggingface.test_exported_tokenizers import RAW_SETTINGS
from tests.huggingface.test_exported_tokenizers import TEXTS
from tests.huggingface.test_exported_tokenizers import assert_cuts_alike
from tests.huggingface.test_exported_tokenizers import raw_texts
from tests.huggingface.test_imported_tokenizers import fairseq
from tests.huggingface.test_imported_tokenizers import spm
from tests.huggingface.test_imported_tokenizers import write
from tests.huggingface.test_imported_tokenizers import write_byte_level

CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def normalizer(data):
  """Returns the library's function of what is exported."""
  document = json.loads(tokenizers.Tokenizer(tokenizers.models.BPE()).to_str())
  document['normalizer'] = {'type': 'Sequence', 'normalizers': normalizers.cleaning(data)}
  return tokenizers.Tokenizer.from_str(json.dumps(document)).normalizer.normalize_str


def assert_cleans_alike(data, texts):
  cleaned = normalizer(data)
  for text in texts:
    assert cleaned(text) == clean.given(text, data), ascii(text)


VARIANTS = [
  {},
  {'unicode': 'NFKC', 'white_space': 'keep'},
  {'unicode': 'none', 'control_characters': 'keep', 'boundary_mark': 'keep'},
]


@pytest.mark.parametrize('changes', VARIANTS)
def test_odd_text_is_cleaned_alike(changes):
  draw = random.Random(1)
  codes = [*range(0x250), *range(0x300, 0x370), *range(0x2000, 0x2070), *draw.sample(CODES, 3000)]
  assert_cleans_alike(settings(**changes), [f'x{chr(code)}e{chr(code)}\u0301' for code in codes])
  assert_cleans_alike(settings(**changes), raw_texts(1000))


@pytest.mark.slow
@pytest.mark.parametrize('changes', VARIANTS)
def test_every_code_point_is_cleaned_alike(changes):
  for frame in ('x{}y', '{} e{}\u0301{}', 'a{}\u0301\u0323e'):
    texts = [frame.replace('{}', chr(code)) for code in CODES]
    assert_cleans_alike(
      settings(**changes), ['x'.join(texts[i : i + 50]) for i in range(0, len(texts), 50)]
    )


@pytest.mark.slow
@pytest.mark.parametrize('form', ['NFC', 'NFKC'])
def test_normal_forms_are_those_of_the_library(form):
  theirs = getattr(tokenizers.normalizers, form)().normalize_str
  draw = random.Random(2)
  odd = [chr(code) for code in CODES if unicodedata.combining(chr(code))]
  odd += [chr(code) for code in CODES if unicodedata.decomposition(chr(code))]
  for _ in range(200_000):
    text = ''.join(draw.choices([*'aeiou', *draw.choices(odd, k=9)], k=draw.randint(1, 8)))
    text = unicodedata.normalize(draw.choice(['NFC', 'NFD', 'NFKD']), text)
    once = normal_forms.normalize(text, form)
    assert once == theirs(text) == normal_forms.normalize(once, form), ascii(text)


def roberta(folder, **values):
  write_byte_level(folder)
  mask = {'__type': 'AddedToken', 'content': '<mask>', 'lstrip': True}
  write(folder, config={'model_type': 'roberta'}, added_tokens={'covid': 450, 'fi': 451})
  write(folder, tokenizer_config={'mask_token': mask, **values})


def bert(folder):
  oracle = tokenizers.implementations.BertWordPieceTokenizer()
  oracle.train_from_iterator(TEXTS, vocab_size=400, show_progress=False)
  oracle.save_model(str(folder))
  write(folder, config={'model_type': 'bert'}, added_tokens={'covid': 400, 'fi': 401})


def xlm_roberta(folder):
  (folder / 'sentencepiece.bpe.model').write_bytes(fairseq())
  write(folder, config={'model_type': 'xlm-roberta'})


@pytest.mark.parametrize(
  'make', [roberta, functools.partial(roberta, add_prefix_space=True), bert, xlm_roberta]
)
@pytest.mark.parametrize('changes', [{}, {'white_space': 'keep'}, RAW_SETTINGS])
def test_a_tokenizer_of_others_cuts_cleaned_text_as_a_run_does(make, changes, tmp_path):
  make(tmp_path)
  ours = tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path))
  texts = [text for text in raw_texts(200) if '[MA\x00SK]' not in text]
  texts += ['the covid  fi fi.', ' covid ', 'COVID Fi', 'fi\ncovid[MASK] fi [MASK]\tcovid']
  assert_cuts_alike(ours, settings(**changes), texts)


@pytest.mark.parametrize('rule', ['nmt_nfkc', 'nmt_nfkc_cf', 'identity'])
def test_a_model_of_ones_own_is_exported_with_its_normalisation(rule):
  ours = tokenizer_lib.make(
    spm(normalization_rule_name=rule, vocab_size=380, control_symbols=['[MASK]'])
  )
  # It makes a space of what no cleaning does.
  texts = [text for text in raw_texts(300) if '\ufffd' not in text] + TEXTS[:50]
  assert_cuts_alike(ours, settings(), texts + ['ＦＩＬＥ ﬁle Ⅳ', 'ÀÉ ½', '[mask] [MASK]'])
