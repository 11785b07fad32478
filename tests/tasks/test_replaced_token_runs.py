"""A run with a generator and a discriminator, as those who use it meet it: trained, evaluated,
opened, continued.
"""

import json

import jax
import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.tasks import pretraining
from mlm_jax.training import logs
from tests import toys

ELECTRA = dict(
  objective__name='rtd',
  model__family='electra',
  model__size='small',
  model__embedding_width=16,
  objective__generator_width=0.5,
  model__layers=1,
  data__row_length=32,
)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  return toys.write_corpus(tmp_path_factory.mktemp('corpus') / 'corpus.txt')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, corpus):
  folder = tmp_path_factory.mktemp('replaced') / 'run'
  assert pretraining.run(toys.training_config(corpus, **ELECTRA), folder, lambda line: None)
  return folder


def test_evaluations_say_both_losses_and_how_often_the_discriminator_is_right(workdir):
  for line in logs.read_log(workdir, 'evaluations'):
    for policy in ('reference', 'policy'):
      assert 0 < line[f'{policy}_loss'] < 10 and 0 < line[f'{policy}_rtd_loss'] < 5
      always_original = 1 - line[f'{policy}_replaced_fraction']
      assert 0.5 < always_original < 1 and 0 <= line[f'{policy}_rtd_accuracy'] <= 1


def test_slices_are_the_generators(workdir):
  slices = json.loads((workdir / 'slices.json').read_text())['reference']
  last = logs.read_log(workdir, 'evaluations')[-1]
  assert slices['loss'] == pytest.approx(last['reference_loss'], rel=1e-5)


def test_the_generator_fills_and_the_discriminator_embeds(workdir):
  run = mlm_jax.open_run(workdir)
  row = np.load(next((workdir / 'data').rglob('train/rows.npy')))[0]
  text = run.tokenizer.decode([i for i in row if i not in run.tokenizer.special_ids][:6])
  ids = [
    run.tokenizer.cls_id,
    *run.tokenizer.encode_with_masks(text + ' [MASK]'),
    run.tokenizer.sep_id,
  ]
  ones_1L, position_1L = np.ones((1, len(ids)), int), np.arange(len(ids))[None]
  generator = run.trained['generator'] | {'embeddings': run.trained['embeddings']}
  hidden_BLD = run.mlm.apply(generator, np.array([ids]), ones_1L, position_1L).hidden_BLD
  assert hidden_BLD.shape[-1] == 16
  log_V = jax.nn.log_softmax(
    run.mlm.head(generator, hidden_BLD[0, -2][None])[0, : run.tokenizer.size]
  )
  best = run.fill(text + ' [MASK]', top_k=1)[0][0]
  assert best.token == run.tokenizer.piece(int(np.argmax(log_V)))
  assert best.probability == pytest.approx(float(np.exp(np.max(log_V))), rel=1e-4)
  ids = [run.tokenizer.cls_id, *run.tokenizer.encode_with_masks(text), run.tokenizer.sep_id]
  hidden_BLD = run.model.apply(
    run.trained, np.array([ids]), ones_1L[:, :-1], position_1L[:, :-1]
  ).hidden_BLD
  assert hidden_BLD.shape[-1] == 32
  np.testing.assert_allclose(run.embed([text])[0], hidden_BLD[0].mean(0), rtol=1e-4, atol=1e-5)


def test_a_run_may_start_from_anothers_parameters(workdir, corpus, tmp_path):
  tokenizer = str(workdir / 'tokenizer' / 'tokenizer.model')
  settings = ELECTRA | dict(init_from=str(workdir), data__tokenizer=tokenizer, total_steps=3)
  assert pretraining.run(
    toys.training_config(corpus, **settings), tmp_path / 'more', lambda line: None
  )
  first = logs.read_log(tmp_path / 'more', 'evaluations')[0]
  last = logs.read_log(workdir, 'evaluations')[-1]
  assert first['reference_loss'] < last['reference_loss'] + 0.1
  with pytest.raises(
    config_lib.UserError, match='config.init_from = .* has another model: .* take its settings with'
  ):
    pretraining.run(
      toys.training_config(corpus, **settings | dict(model__feed_forward=96)),
      tmp_path / 'other',
      lambda line: None,
    )
  with pytest.raises(config_lib.UserError, match='has another tokenizer than the data'):
    pretraining.run(
      toys.training_config(corpus, **ELECTRA | dict(init_from=str(workdir), data__vocab_size=350)),
      tmp_path / 'third',
      lambda line: None,
    )
