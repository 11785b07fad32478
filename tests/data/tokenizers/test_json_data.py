"""A tokenizer.json from the corpus to a run: prepared with, masked by its words, filled."""

import json

import pytest

import mlm_jax
from mlm_jax import config
from mlm_jax import masking
from mlm_jax.data import inspect
from mlm_jax.data import prepare
from mlm_jax.data import store
from mlm_jax.data.tokenizers import json_documents
from mlm_jax.data.tokenizers import tokenizer_json
from mlm_jax.inference import mask_preview
from mlm_jax.tasks import pretraining
from tests import toys
from tests.data.invented import sentences
from tests.data.invented import settings
from tests.data.tokenizers.test_tokenizer_json import DOCUMENTS
from tests.data.tokenizers.test_tokenizer_json import without


def test_data_are_prepared_with_the_tokenizer_json_of_a_path(tmp_path):
  path, corpus = tmp_path / 'x.json', tmp_path / 'corpus.txt'
  path.write_text(json.dumps(without(DOCUMENTS['roberta'], '<unk>')))
  corpus.write_text('\n'.join(sentences(100) + ['東京へ行く。']))
  data = settings(source=f'text:{corpus}', tokenizer=str(path), row_length=64)
  prepared = prepare.prepare(data, tmp_path / 'data', log=lambda line: None)
  assert prepared.tokenizer.model == path.read_bytes()
  texts = [
    text
    for rows in prepared.train
    for row in rows.tokens_RL
    for text in prepared.tokenizer.decode(row).replace('[SEP]', '').split('[CLS]')
  ]
  assert len({text.strip() for text in texts} & set(sentences(100))) > 30
  shown = '\n'.join(inspect.lines(prepared))
  assert 'unknown pieces: 0; bytes: ' in shown
  path.write_text(json.dumps(DOCUMENTS['roberta']))
  with pytest.raises(
    config.UserError, match='was prepared with another model than config.data.tokenizer'
  ):
    prepare.prepare(data, tmp_path / 'data', log=lambda line: None)


def words_are_masked_whole(masked, texts):
  """Asserts of the MaskedPieces of texts that their words are the units."""
  for text, pieces in zip(texts, masked, strict=True):
    found = {}
    for each in pieces[1:-1]:
      found[each.unit] = found.get(each.unit, '') + each.piece.lstrip('\u2581')
    assert list(found.values()) == text.removesuffix('.').split(' ') + ['.']


def short_texts(tokenizer):
  return [text for text in sentences(300) if len(tokenizer.encode(text)) <= 30][:20]


@pytest.mark.parametrize('kind', json_documents.TRAINED)
def test_texts_are_prepared_and_masked_by_words(kind, tmp_path):
  corpus = tmp_path / 'corpus.txt'
  corpus.write_text('\n'.join(sentences(300)))
  data = settings(source=f'text:{corpus}', tokenizer=kind, vocab_size=300)
  prepared = prepare.prepare(data, tmp_path / 'data', log=lambda line: None)
  tokenizer = prepared.tokenizer
  assert type(tokenizer) is tokenizer_json.Json
  assert any('unknown pieces: 0;' in line for line in inspect.lines(prepared))
  texts = short_texts(tokenizer)
  rows = [tokenizer.encode_text(text, data) for text in texts]
  policy = masking.make(prepared.table, unit='word', rate=0.5)
  masked = mask_preview.mask_rows(policy, rows, tokenizer.piece, tokenizer.pad_id, length=32)
  words_are_masked_whole(masked, texts)


@pytest.mark.slow
@pytest.mark.parametrize('kind', json_documents.TRAINED)
def test_a_run_is_trained_filled_and_masked_by_words(kind, tmp_path):
  corpus = tmp_path / 'corpus.txt'
  corpus.write_text('\n'.join(sentences(300)))
  settings_ = toys.training_config(
    corpus,
    data__tokenizer=kind,
    data__vocab_size=300,
    data__row_length=32,
    masking__unit='word',
    masking__rate=0.3,
  )
  pretraining.run(settings_, tmp_path / 'run', lambda line: None)
  run = mlm_jax.open_run(tmp_path / 'run')
  assert type(run.tokenizer) is tokenizer_json.Json
  prepared = store.open_prepared(tmp_path / 'run' / 'data')
  assert any('unknown pieces: 0;' in line for line in inspect.lines(prepared))
  words = sentences(300)[0].split(' ')
  before, after = ' '.join(words[:2]), ' '.join(words[3:5])
  first, second = run.fill(f'{before} [MASK] {after} [MASK].', top_k=300)
  assert {each.token for each in first} == {run.tokenizer.piece(i) for i in range(300)}
  assert sum(each.probability for each in second) == pytest.approx(1, abs=1e-4)
  texts = short_texts(run.tokenizer)
  policy = masking.make(run.table, unit='word', rate=0.5)
  words_are_masked_whole(run.masked(texts, policy), texts)
