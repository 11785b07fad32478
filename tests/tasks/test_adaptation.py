"""Adaptation to a domain: what is followed, where it ends, and which checkpoint is the model."""

import json

import jax
import numpy as np
import pytest
import tokenizers as library

from mlm_jax import config as config_lib
from mlm_jax.core import trees
from mlm_jax.data import store
from mlm_jax.data import tokenizers
from mlm_jax.huggingface import exporting
from mlm_jax.inference import evaluate
from mlm_jax.report import run_page
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


def extended(parent, domain, general, **settings):
  """Returns the config of an adaptation with more new pieces than the table has spare rows."""
  more = {'adapt__new_pieces': 66, 'adapt__general': f'text:{general}', 'adapt__replay': 0.25}
  return load(parent, domain, **more | settings)


def test_new_pieces_start_from_the_mean_of_their_parts(parent, domain, tmp_path_factory, tmp_path):
  config = adaptation.resolve(extended(parent, domain, shared_runs.corpus(tmp_path_factory)))
  mesh = sharding.make_mesh(config.mesh)
  made = adaptation.make_problem(config, tmp_path / 'run', mesh, lambda line: None)
  before, params = saved.open_model(parent), made.init_params
  assert params is not None
  old, new = (tokenizers.load(each / store.TOKENIZER) for each in (parent, tmp_path / 'run/data'))
  assert (old.size, new.size) == (320, 386)
  ours = jax.eval_shape(made.init, jax.random.key(0))
  assert {path: each.shape for path, each in params.items()} == {
    path: each.shape for path, each in trees.paths(ours).items()
  }
  changed = set()
  for path, table in trees.paths(before.params).items():
    if table.shape == params[path].shape:
      np.testing.assert_array_equal(params[path], table)
      continue
    changed.add(path)
    np.testing.assert_array_equal(params[path][:320], table[:320])
    for i in range(320, 386):
      parts = old.encode(new.piece(i).removeprefix('▁'))
      wanted = np.mean([np.asarray(table)[part] for part in parts], axis=0)
      np.testing.assert_allclose(params[path][i], wanted, rtol=1e-5, atol=1e-7)
  assert changed == {'embeddings/token/embedding', 'head/bias'}
  # Both texts are cut by the extended tokenizer, and words of the domain are pieces there.
  general = store.open_prepared(tmp_path / 'run/general')
  assert general.tokenizer.sha256 == new.sha256
  assert (store.open_prepared(tmp_path / 'run/data').counts_V[320:] > 0).mean() > 0.9


def test_a_run_with_new_pieces_is_scored_exported_and_started_from(
  parent, domain, tmp_path_factory, tmp_path
):
  config = extended(parent, domain, shared_runs.corpus(tmp_path_factory))
  run = tmp_path / 'run'
  lines, evaluations, finished = adapted(config, run)
  (said,) = [line for line in lines if line.startswith('tokenizer: 66 new pieces; tokens per word')]
  before, after = (float(each) for each in said.split('word ')[1].split(',')[0].split(' -> '))
  assert 1 <= after < before
  assert adaptation.run(config, run, lines.append)  # the same data and tokenizer are found
  model = finished.get('model', finished['step'])
  (loss,) = [each['reference_loss'] for each in evaluations if each['step'] == model]
  assert evaluate.evaluate(run)['reference_loss'] == pytest.approx(loss, rel=1e-5)
  assert '66 new pieces; tokens per word' in run_page.render(run)
  exporting.run(run, tmp_path / 'there', log=lines.append)
  theirs = library.Tokenizer.from_file(str(tmp_path / 'there/tokenizer.json'))
  ours = tokenizers.load(run / store.TOKENIZER)
  for text in domain.read_text().splitlines()[:50]:
    assert theirs.encode(text).ids == ours.encode_text(text, config.data).tolist()
  # It is a parent as any other, whose tokenizer is extended once.
  again = adaptation.resolve(load(run, domain, adapt__general=f'text:{domain}'))
  mesh = sharding.make_mesh(again.mesh)
  made = adaptation.make_problem(again, tmp_path / 'again', mesh, lines.append)
  assert made.fingerprints['tokenizer'] == ours.sha256 and made.init_params is not None
  np.testing.assert_array_equal(
    made.init_params['head/bias'], saved.open_model(run).params['head']['bias']
  )
