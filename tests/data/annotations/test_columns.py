"""A column is added by its declaration alone, from the documents or the rows to the batch."""

import jax
import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data import annotations
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import prepare as prepare_lib
from mlm_jax.data import store
from mlm_jax.data.annotations import column
from tests.data.invented import sentences
from tests.data.invented import settings
from tests.data.invented import stories


class Vowels(column.OfDocuments):
  """Of each character, and so of each token: is it a vowel?"""

  def values(self, text, words=None):
    return np.array([letter in 'aeiou' for letter in text.lower()])

  def counted(self, values_RX):
    return {'vowels': int(values_RX.sum())}


class Lengths(column.OfDocuments):
  """Of each document, and so of each of its segments: its characters, as a label might be."""

  def values(self, text, words=None):
    return len(text)

  def described(self):
    return {'length_of': 'document'}


class Odd(column.OfRows):
  """Of each token of a finished row: is its id odd?"""

  def __init__(self, data, tokenizer, rows, folder, scratch):
    self.rows = sum(map(len, rows))

  def values(self, tokens_RL, starts_RS):
    return (tokens_RL % 2).astype(np.int8), {'odd': int((tokens_RL % 2).sum())}

  def said(self, counts):
    return f'odd ids: {counts["odd"]}, in {self.rows} training rows and some more'


# Each is asked for by a setting that is there already.
TOYS = (
  column.Column('vowels_BL', bool, 'document', of_documents=lambda data, sources: Vowels()),
  column.Column('lengths_BS', np.int32, 'tokenizer', -1, lambda data, sources: Lengths()),
  column.Column('odd_BL', np.int8, 'packing', of_rows=Odd),
)


@pytest.fixture
def declared(monkeypatch):
  monkeypatch.setattr(annotations, 'COLUMNS', (*annotations.COLUMNS, *TOYS))


def prepare(folder, log=lambda line: None, texts=sentences, **changes):
  (folder / 'a.txt').write_text('\n'.join(texts(200)))
  (folder / 'b.txt').write_text('\n'.join(texts(100, seed=1)))
  source = f'text:{folder}/a.txt,text:{folder}/b.txt'
  return prepare_lib.prepare(settings(source=source, **changes), folder / 'data', log=log)


def check(batch, tokenizer, texts):
  """Asserts what the toys say of a batch, from its tokens and the documents' texts.

  Returns how many tokens and segments were compared.
  """
  tokens = segments = 0
  for b, row in enumerate(batch.tokens_BL):
    for i, token in enumerate(row):
      letters = tokenizer.piece(token).lstrip('▁')
      if token in tokenizer.special_ids:
        assert not batch.columns['vowels_BL'][b, i]
      elif letters:
        assert batch.columns['vowels_BL'][b, i] == (letters[0].lower() in 'aeiou')
        tokens += 1
    starts = batch.starts_BS[b]
    for s, begin in enumerate(starts):
      if begin < 0:
        assert batch.columns['lengths_BS'][b, s] == -1
        continue
      end = min([other for other in starts if other > begin], default=len(row))
      ids = [i for i in row[begin:end] if i not in tokenizer.special_ids]
      text = tokenizer.decode(ids).strip()
      assert any(text in each and len(each) == batch.columns['lengths_BS'][b, s] for each in texts)
      segments += 1
  assert np.array_equal(batch.columns['odd_BL'], batch.tokens_BL % 2)
  return tokens, segments


def test_a_column_of_tokens_and_one_of_segments_reach_the_batch(declared, tmp_path):
  said = []
  prepared = prepare(tmp_path, said.append)
  assert any(line.startswith('odd ids: ') for line in said)
  texts = [*sentences(200), *sentences(100, seed=1)]
  loader = loader_lib.Loader(prepared, 'train', 32, seed=0)
  batch = loader.batch(1)
  assert len(set(batch.example_B2[:, 0].tolist())) == 2
  tokens, segments = check(batch, prepared.tokenizer, texts)
  assert tokens > 300 and segments > 32
  for name, dtype in (('vowels_BL', bool), ('lengths_BS', np.int32), ('odd_BL', np.int8)):
    assert batch.columns[name].dtype == dtype
  evaluation = loader_lib.EvaluationLoader(prepared, 64)
  last = evaluation.batch(len(evaluation) - 1)
  empty_B = (last.starts_BS < 0).all(axis=1)
  assert empty_B.any() and not empty_B.all()
  assert (last.columns['lengths_BS'][empty_B] == -1).all()
  assert not last.columns['vowels_BL'][empty_B].any()
  on_device = jax.jit(lambda batch: batch.columns)(batch)
  assert np.array_equal(on_device['lengths_BS'], batch.columns['lengths_BS'])


def test_a_column_goes_with_pairs_and_with_the_other_columns(declared, tmp_path):
  prepared = prepare(tmp_path, texts=stories, pairs='sop', collocations=20)
  batch = loader_lib.Loader(prepared, 'train', 8, seed=0).batch(0)
  assert set(batch.columns) == {
    'joins_BL',
    'pairs_BS',
    'vowels_BL',
    'lengths_BS',
    'odd_BL',
  }
  used_BS = batch.starts_BS >= 0
  assert np.array_equal(batch.columns['lengths_BS'] > 0, used_BS)
  assert np.array_equal(batch.pairs_BS > 0, used_BS)
  for row, vowels_L in zip(batch.tokens_BL, batch.columns['vowels_BL']):
    for i, is_vowel in zip(row, vowels_L):
      letters = prepared.tokenizer.piece(i).lstrip('▁')
      if letters and i not in prepared.tokenizer.special_ids:
        assert is_vowel == (letters[0].lower() in 'aeiou')


def test_the_store_keeps_a_column_like_all_else(declared, tmp_path):
  prepared = prepare(tmp_path)
  manifest = prepared.manifest
  assert manifest['length_of'] == 'document'
  for source, rows in zip(manifest['sources'], prepared.train):
    vowels = int(rows.columns['vowels_BL'][:].sum())
    assert source['train']['document'] == {'vowels': vowels} and vowels
    assert source['train']['packing'] == {'odd': int((rows.tokens_RL % 2).sum())}
  length = settings().row_length
  assert np.load(prepared.directory / 'a/train/vowels.npy').shape[1] == length // 8
  (prepared.directory / 'b/train/lengths.npy').unlink()
  with pytest.raises(config.UserError, match='b/train/lengths.npy: No such file'):
    store.open_prepared(prepared.directory)


def test_rows_and_other_files_do_not_change_with_a_column(declared, tmp_path, monkeypatch):
  for name in ('with', 'without'):
    (tmp_path / name).mkdir()
  with_toys = prepare(tmp_path / 'with').manifest['files']
  monkeypatch.undo()
  without = prepare(tmp_path / 'without').manifest['files']
  assert without == {name: entry for name, entry in with_toys.items() if name in without}
  assert len(with_toys) == len(without) + 3 * 4
