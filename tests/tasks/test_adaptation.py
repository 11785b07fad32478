"""Adaptation to a domain: what is followed, where it ends, and which checkpoint is the model."""

import json

import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.data import store
from mlm_jax.inference import evaluate
from mlm_jax.tasks import adaptation
from mlm_jax.training import logs
from mlm_jax.training import saved
from mlm_jax.training import sharding
from tests import shared_runs
from tests import toys

pytestmark = pytest.mark.slow

SMALL = {
  'data.row_length': 16,
  'data.document': 'lines',
  'data.validation_fraction': 0.1,
  'batch_size': 8,
  'total_steps': 4,
  'optim.warmup_steps': 1,
  'evaluation.batch_size': 8,
  'evaluation.rows': 16,
  'evaluation.every': 2,
  'checkpoint.every': 2,
  'log.trackers': '',
}


@pytest.fixture(scope='module')
def parent(tmp_path_factory):
  """The folder of a trained run."""
  return shared_runs.to_continue(tmp_path_factory)


@pytest.fixture(scope='module')
def domain(tmp_path_factory):
  return toys.write_corpus(tmp_path_factory.mktemp('domain') / 'domain.txt', 200, seed=5)


def load(parent, domain, **settings):
  given = {key.replace('__', '.'): value for key, value in settings.items()}
  start = {'init_from': str(parent), 'data.source': f'text:{domain}'}
  return config_lib.overlay(config_lib.load('adaptation'), start | SMALL | given)


def adapted(config, workdir):
  lines = []
  assert adaptation.run(config, workdir, lines.append)
  return (
    lines,
    logs.read_log(workdir, 'evaluations'),
    json.loads((workdir / 'finished.json').read_text()),
  )


def test_general_loss_at_the_start_is_what_the_parent_scores_on_its_own_rows(
  parent, domain, tmp_path
):
  lines, (first, *_), finished = adapted(load(parent, domain), tmp_path / 'run')
  scores = evaluate.evaluate(parent)
  assert first['general_loss'] == pytest.approx(scores['reference_loss'], rel=1e-5)
  assert first['reference_loss'] != pytest.approx(first['general_loss'], rel=1e-3)
  assert finished['reason'] == 'all steps are done'
  assert any('general loss' in line for line in lines)


def test_beyond_the_allowance_it_ends_and_the_best_within_is_the_model(parent, domain, tmp_path):
  # A rate that rises all the time: at first it teaches, at last it destroys.
  config = load(
    parent, domain, adapt__allowance=0.3, total_steps=24, optim__warmup_steps=24,
    optim__learning_rate=1.0, evaluation__every=1,
  )  # fmt: skip
  run = tmp_path / 'run'
  lines, evaluations, finished = adapted(config, run)
  rises = [line['general_loss'] - evaluations[0]['general_loss'] for line in evaluations]
  assert rises[-1] > 0.3 and all(rise <= 0.3 for rise in rises[:-1])
  assert finished['step'] == evaluations[-1]['step'] < 24
  assert 'general_loss has risen by' in finished['reason']
  assert [line for line in lines if finished['reason'] in line and line.startswith('ends at step')]
  within = {line['step']: line['reference_loss'] for line in evaluations[:-1]}
  assert saved.open_model(run).step == min(within, key=within.__getitem__)


def test_on_few_documents_it_ends_by_patience_at_the_least_domain_loss(parent, tmp_path):
  """The planted over-fit: what is learned by heart of a few documents says nothing of others."""
  text = toys.write_corpus(tmp_path / 'few.txt', 60, seed=9, words=400)
  config = load(
    parent, text, adapt__allowance=100.0, total_steps=300, optim__learning_rate=0.01,
    evaluation__every=5, evaluation__patience=3, evaluation__rows=0,
    data__validation_fraction=0.5, log__every=5,
  )  # fmt: skip
  run = tmp_path / 'run'
  _, evaluations, finished = adapted(config, run)
  losses = [line['reference_loss'] for line in evaluations]
  best = losses.index(min(losses))
  assert len(losses) == best + 1 + 3 and finished['step'] < 300
  assert finished['reason'] == 'reference_loss has not improved in 3 evaluations'
  assert saved.open_model(run).step == evaluations[best]['step']
  training = [line['loss'] for line in logs.read_log(run, 'metrics')]
  assert training[-1] < losses[-1]


def test_of_replayed_rows_the_share_is_as_asked(parent, domain, tmp_path):
  config = adaptation.resolve(load(parent, domain, adapt__replay=0.25))
  mesh = sharding.make_mesh(config.mesh)
  made = adaptation.make_problem(config, tmp_path / 'run', mesh, lambda line: None)
  sources = np.concatenate([made.examples(step)[:, 0] for step in range(1250)])
  assert len(sources) == 10_000 and (sources == 1).sum() == 2500
  general = store.open_prepared(parent / 'data').train[0].tokens_RL
  source_B, row_B = made.examples(7).T
  tokens_BL = made.stages[0].batch(7).tokens_BL
  for row, tokens_L in zip(row_B[source_B == 1], tokens_BL[source_B == 1]):
    np.testing.assert_array_equal(tokens_L, general[row])
