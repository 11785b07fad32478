"""Exported tokenizers against AutoTokenizer, which reads them; odd folders are in another file."""

import pytest
import transformers

from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.huggingface import exported_tokenizers
from mlm_jax.huggingface import imported_tokenizers
from tests.huggingface.test_exported_tokenizers import CLEANED
from tests.huggingface.test_exported_tokenizers import cleaned
from tests.huggingface.test_exported_tokenizers import raw_texts
from tests.huggingface.test_exported_tokenizers import train

pytestmark = pytest.mark.parity


@pytest.fixture(params=['bpe', 'unigram', 'word', 'wordpiece', 'byte_bpe'])
def ours(request):
  return train(request.param)


def exported(ours, folder, length=10_000):
  exported_tokenizers.write_folder(ours, CLEANED, folder, length)
  return transformers.AutoTokenizer.from_pretrained(folder)


def test_raw_text_is_cut_as_the_run_does_it(ours, tmp_path):
  theirs = exported(ours, tmp_path)
  for loaded in (theirs, transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)):
    for text in raw_texts(1000):
      wanted = ours.encode_text(text, CLEANED, has_masks=True).tolist()
      assert loaded(text)['input_ids'] == wanted, ascii(text)
  for role in ('pad', 'unk', 'cls', 'sep', 'mask'):
    assert getattr(theirs, f'{role}_token_id') == getattr(ours, f'{role}_id')
  assert len(theirs) == ours.size and set(theirs('a')) == {'input_ids', 'attention_mask'}
  for text in cleaned(100) if ours.byte_ids else ():
    assert theirs.decode(ours.encode(text)) == text


def test_rows_are_cut_and_filled_up_as_those_of_the_run(ours, tmp_path):
  theirs = exported(ours, tmp_path, length=24)
  texts = raw_texts(200)
  rows = [ours.encode_text(text, CLEANED, has_masks=True).tolist() for text in texts]
  rows = [row if len(row) <= 24 else [*row[:23], ours.sep_id] for row in rows]
  assert theirs(texts, truncation=True)['input_ids'] == rows
  longest = max(map(len, rows))
  filled = [row + [ours.pad_id] * (longest - len(row)) for row in rows]
  batch = theirs(texts, truncation=True, padding=True)
  assert batch['input_ids'] == filled
  assert batch['attention_mask'] == [[1] * len(row) + [0] * (longest - len(row)) for row in rows]


def test_what_is_saved_there_is_read_back(ours, tmp_path):
  exported(ours, tmp_path).save_pretrained(tmp_path / 'again')
  again = tokenizer_lib.make(imported_tokenizers.from_folder(tmp_path / 'again'))
  for text in cleaned(100):
    assert again.encode(text) == ours.encode(text)
  for text in raw_texts(100):
    assert again.encode_with_masks(text) == ours.encode_text(text, CLEANED, True)[1:-1].tolist()
