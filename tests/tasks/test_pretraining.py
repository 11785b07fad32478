"""Pretraining runs: exact when resumed, scored under fixed masks, refused where they cannot work.

What holds for every task is tested on a problem without text, in tests/training.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.data import store
from mlm_jax.evaluation import segment_scores
from mlm_jax.models import flops
from mlm_jax.tasks import pretraining
from mlm_jax.training import checkpoint
from mlm_jax.training import logs
from mlm_jax.training import sharding
from mlm_jax.training import workdir as workdir_lib
from tests import shared_runs
from tests import toys
from tests.training import toy


@pytest.fixture(scope='session')
def corpus(tmp_path_factory):
  return toys.write_corpus(tmp_path_factory.mktemp('corpus') / 'corpus.txt')


@pytest.fixture(scope='session')
def prepared(tmp_path_factory, corpus):
  """The folder of data that all runs here share."""
  folder = tmp_path_factory.mktemp('prepared') / 'data'
  pretraining.prepare_data(
    toys.training_config(corpus, data__prepared=str(folder)), None, toy.silent
  )
  return folder


@pytest.fixture
def config(corpus, prepared):
  def make(**settings):
    own = {'data__prepared': str(prepared), 'model__layers': 1}
    return toys.training_config(corpus, **own | settings)

  return make


@pytest.fixture(scope='session')
def whole_run(tmp_path_factory, corpus, prepared):
  """(the folder of a run of the plain config, what it said)"""
  folder, lines = tmp_path_factory.mktemp('whole') / 'run', []
  c = toys.training_config(
    corpus, data__prepared=str(prepared), model__layers=1, log__trackers='tensorboard'
  )
  assert pretraining.run(c, folder, lines.append)
  return folder, lines


def train_until(config, workdir, step, monkeypatch, log=toy.silent):
  with toy.stopped_at(step, monkeypatch):
    assert not pretraining.run(config, workdir, log)


def test_its_scores_by_segment_add_up_to_its_loss(whole_run):
  run, _ = whole_run
  last = logs.read_log(run, 'evaluations')[-1]
  found = segment_scores.read(run, last['step'])
  assert found is not None and len(found.tokens_N) > 10
  tokens = found.tokens_N.sum()
  assert found.loss_N.sum() / tokens == pytest.approx(last['reference_loss'], rel=1e-5)
  assert found.hits_N.sum() / tokens == pytest.approx(last['reference_accuracy'], rel=1e-5)
  keys = list(zip(found.source_N.tolist(), found.row_N.tolist(), found.segment_N.tolist()))
  assert len(set(keys)) == len(keys)


def test_a_run_leaves_what_it_says(config, whole_run):
  run, lines = whole_run
  assert {each.name for each in run.iterdir()} == {
    'checkpoints',
    'config.json',
    'environment.json',
    'evaluations.jsonl',
    'finished.json',
    'lock',
    'metrics.jsonl',
    'segment_scores.npz',
    'slices.json',
    'spikes.jsonl',
    'statistics.npz',
    'tensorboard',
    'timing.jsonl',
    'tokenizer',
  }
  assert [line['step'] for line in logs.read_log(run, 'metrics')] == [2, 4, 6]
  assert [line['step'] for line in logs.read_log(run, 'evaluations')] == [3, 6]
  assert config_lib.differences(workdir_lib.read_config(run), config(), ignore=('log',)) == []
  last = logs.read_log(run, 'metrics')[-1]
  for name in (
    'loss',
    'accuracy',
    'top5_accuracy',
    'perplexity',
    'loss_masked',
    'loss_random',
    'loss_kept',
    'learning_rate',
    'gradient_norm',
    'rate',
    'padding',
    'overflow',
    'skipped',
  ):
    assert name in last
  assert last['rate'] == pytest.approx(0.15, abs=0.03) and last['overflow'] == 0
  assert {
    'tokens_per_second',
    'useful_tokens_per_second',
    'waited_seconds',
    'model_flops_per_second',
  } <= set(logs.read_log(run, 'timing')[-1])
  environment = json.loads((run / 'environment.json').read_text())
  assert len(environment) == 1 and environment[0]['data_fingerprint']
  assert any('/6' in line for line in lines)


def test_the_flops_of_a_step_are_those_of_its_tokens(config, whole_run):
  run, _ = whole_run
  architecture = models.make(config().model, 320).architecture
  timing, metrics = (logs.read_log(run, name) for name in ('timing', 'metrics'))
  for line, values in zip(timing, metrics, strict=True):
    tokens = 2 * 8 * 16 * (1 - values['padding'])
    needed = flops.training(architecture, tokens, tokens * values['attended'], 0.15 * 0.8 * tokens)
    assert line['model_flops_per_second'] * line['seconds'] == pytest.approx(needed, rel=0.1)
    assert line['useful_tokens_per_second'] * line['seconds'] == pytest.approx(tokens, rel=1e-3)


@pytest.mark.parametrize(
  'settings',
  (
    dict(model__dropout=0.1, grad_accumulation_steps=2, mesh__data=2, model__head_rows=1),
    pytest.param(dict(objective__name='rtd', model__dropout=0.1), marks=pytest.mark.slow),
  ),
)
def test_a_run_stopped_anywhere_and_resumed_equals_one_never_stopped(
  config, tmp_path, monkeypatch, settings
):
  # Steps 3 and 5 lie between two lines of the log, where the window is half full.
  c = config(checkpoint__every=4, **settings)
  assert pretraining.run(c, tmp_path / 'whole', toy.silent)
  for step in (3, 5):
    train_until(c, tmp_path / 'stopped', step, monkeypatch)
    assert checkpoint.steps(tmp_path / 'stopped' / 'checkpoints')[-1] == step
  assert pretraining.run(c, tmp_path / 'stopped', toy.silent)
  toy.assert_equal_runs(tmp_path / 'whole', tmp_path / 'stopped')


@pytest.mark.parametrize(
  'mesh',
  (
    dict(mesh__fsdp=2),
    pytest.param(dict(mesh__tensor=2), marks=pytest.mark.slow),
    pytest.param(dict(mesh__devices=1), marks=pytest.mark.slow),
  ),
)
def test_a_run_saved_on_one_mesh_resumes_on_another(config, tmp_path, monkeypatch, mesh, whole_run):
  train_until(config(), tmp_path / 'run', 4, monkeypatch)
  lines = []
  assert pretraining.run(config(**mesh), tmp_path / 'run', lines.append)
  assert any('resumes at step 4' in line for line in lines)
  for name in ('metrics', 'evaluations'):
    for ours, theirs in zip(
      logs.read_log(tmp_path / 'run', name), logs.read_log(whole_run[0], name), strict=True
    ):
      assert ours == pytest.approx(theirs, rel=2e-5)
  ours, theirs = (
    checkpoint.read_model(run / 'checkpoints')[1] for run in (tmp_path / 'run', whole_run[0])
  )
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5), ours, theirs)


def test_a_source_has_its_own_held_out_loss(config, corpus, tmp_path):
  other = toys.write_corpus(tmp_path / 'other.txt', documents=200, seed=1)
  pretraining.run(
    config(
      data__source=f'text:{corpus},text:{other}',
      data__prepared='',
      evaluation__rows=0,
      model__dropout=0.0,
      total_steps=2,
    ),
    tmp_path / 'run',
    toy.silent,
  )
  values = logs.read_log(tmp_path / 'run', 'evaluations')[-1]
  losses = [values['reference_loss_on_corpus'], values['reference_loss_on_other']]
  assert min(losses) < values['reference_loss'] < max(losses) and 'policy_loss_on_other' in values


def test_reference_masks_are_the_same_whatever_the_seed_and_the_policy(config, tmp_path):
  masks = []
  for settings in (
    dict(seed=1),
    dict(seed=2, masking__rate=0.4, masking__corruption_probs=(0.5, 0.5, 0.0)),
  ):
    c = config(**settings)
    mesh = sharding.make_mesh(c.mesh)
    problem = pretraining.problem(c, pretraining.prepare_data(c, tmp_path, toy.silent), mesh)
    scores = problem.evaluators['reference'](problem.init(jax.random.key(3)), {}, 0.5)
    masks.append({key: scores[key] for key in ('loss', 'rate', 'accuracy')})
    # Sixteen short rows round their counts: the rate's standard deviation is .01.
    assert scores['loss_masked'] == scores['loss'] and scores['rate'] == pytest.approx(
      0.15, abs=0.05
    )
  assert masks[0] == masks[1]


@pytest.mark.parametrize(
  'settings, says',
  (
    (dict(mesh__devices=9), 'there are 2 devices'),
    (dict(batch_size=9, mesh__data=2), 'config.batch_size = 9: must be a multiple of 2'),
    (dict(evaluation__batch_size=3, mesh__data=2), 'config.evaluation.batch_size = 3'),
    (dict(model__head_rows=3), 'config.model.head_rows = 3: must divide the 4 rows'),
    (dict(optim__decay_rules=(('.*kernel', True),)), 'no rule matches parameter'),
    (dict(model__vocab_size=319), 'config.model.vocab_size = 319: must be at least 320'),
  ),
)
def test_what_cannot_work_together_is_reported_before_the_data_is_touched(
  config, tmp_path, settings, says
):
  with pytest.raises(config_lib.UserError, match=says):
    pretraining.run(
      config(**settings, data__prepared='', data__source='text:absent'),
      tmp_path / 'run',
      toy.silent,
    )
  assert not (tmp_path / 'run').exists()


def test_a_table_smaller_than_a_given_tokenizer_is_reported_before_the_data_is_touched(
  config, prepared, tmp_path
):
  c = config(
    model__vocab_size=319,
    data__tokenizer=str(prepared / store.TOKENIZER),
    data__prepared='',
    data__source='text:absent',
  )
  with pytest.raises(config_lib.UserError, match='model.vocab_size = 319: must be at least 320'):
    pretraining.run(c, tmp_path / 'run', toy.silent)
  assert not (tmp_path / 'run').exists()


def test_a_run_does_not_start_from_parameters_that_are_not_finite(config, whole_run, tmp_path):
  shutil.copytree(whole_run[0], tmp_path / 'nan')
  step = tmp_path / 'nan' / 'checkpoints' / '6'
  parts = dict(zip(('params', 'aux'), checkpoint.read_model(step.parent)[1:]))
  parts['params']['embeddings']['token']['embedding'] *= np.nan
  shutil.rmtree(step)
  saved = checkpoint.Checkpoints(step.parent, config().checkpoint, toy.silent)
  saved.save(6, {'params': parts['params']})
  saved.wait()
  with pytest.raises(config_lib.UserError, match='embeddings/token/embedding .* not finite'):
    pretraining.run(config(init_from=str(tmp_path / 'nan')), tmp_path / 'run', toy.silent)
  assert not (tmp_path / 'run').exists()


def test_a_corpus_too_small_for_a_batch_is_reported(config, tmp_path):
  with pytest.raises(config_lib.UserError, match='too small for one batch'):
    pretraining.run(config(batch_size=100_000), tmp_path / 'run', toy.silent)
  assert not (tmp_path / 'run').exists()


def test_an_evaluation_without_a_prediction_does_not_end_the_run(config, tmp_path):
  c = config(masking__rate=1e-6, masking__sampling='bernoulli')
  assert pretraining.run(c, tmp_path / 'run', toy.silent)
  assert 'policy_loss' not in logs.read_log(tmp_path / 'run', 'evaluations')[-1]


def test_another_tokenizer_is_refused(config, tmp_path, monkeypatch):
  train_until(config(), tmp_path / 'run', 2, monkeypatch)
  environment = tmp_path / 'run' / 'environment.json'
  environment.write_text(environment.read_text().replace('"tokenizer": "', '"tokenizer": "0'))
  with pytest.raises(config_lib.UserError, match='trained with another tokenizer'):
    pretraining.run(config(), tmp_path / 'run', toy.silent)


@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_checkpoint_before_survives(config, tmp_path):
  """A limit on file sizes replaces a full disk; it must hit the save, not the compiler's cache."""
  run = tmp_path / 'run'
  c = config(total_steps=4, checkpoint__every=2, evaluation__every=4)
  config_file = tmp_path / 'config.json'
  config_file.write_text(config_lib.to_json(c))
  script = (
    'import resource, pathlib, sys\n'
    'from mlm_jax import config\n'
    'from mlm_jax.tasks import pretraining\n'
    'from mlm_jax.training import checkpoint\n'
    'save = checkpoint.Checkpoints.save\n'
    'def limited(self, step, *rest):\n'
    '  if step == 4:\n'
    '    self.wait()\n'
    '    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n'
    '  save(self, step, *rest)\n'
    'checkpoint.Checkpoints.save = limited\n'
    f'c = config.from_json(pathlib.Path({str(config_file)!r}).read_text())\n'
    'try:\n'
    f'  pretraining.run(c, {str(run)!r}, print)\n'
    'except config.UserError as error:\n'
    '  print("USER ERROR", error)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', script],
    capture_output=True,
    text=True,
    timeout=300,
    env={**os.environ, 'JAX_ENABLE_COMPILATION_CACHE': 'false'},
  )
  assert 'USER ERROR could not save step 4' in done.stdout, done.stdout + done.stderr
  assert 'the last whole checkpoint is step 2' in done.stdout
  assert 'Traceback' not in done.stdout + done.stderr
  assert checkpoint.read_model(run / 'checkpoints')[0] == 2
  assert pretraining.run(c, run, toy.silent)
  assert pretraining.run(c, tmp_path / 'whole', toy.silent)
  toy.assert_equal_runs(tmp_path / 'whole', run)


@pytest.mark.slow
def test_a_run_killed_again_and_again_equals_one_never_killed(config, tmp_path):
  c = config(total_steps=40, checkpoint__every=3, evaluation__every=10, model__dropout=0.1)
  config_file = tmp_path / 'config.json'
  config_file.write_text(config_lib.to_json(c))
  script = (
    'import pathlib, sys\nfrom mlm_jax import config\nfrom mlm_jax.tasks import pretraining\n'
    f'c = config.from_json(pathlib.Path({str(config_file)!r}).read_text())\n'
    'pretraining.run(c, sys.argv[1], print)\n'
  )
  cache = shared_runs.compilation_cache()
  run = lambda workdir: subprocess.Popen(
    [sys.executable, '-c', script, str(workdir)],
    stdout=subprocess.DEVNULL,
    env={**os.environ, 'JAX_COMPILATION_CACHE_DIR': cache},
  )
  assert run(tmp_path / 'whole').wait(300) == 0
  random = np.random.default_rng(0)
  kills = 0
  for _ in range(60):
    process = run(tmp_path / 'killed')
    metrics_file = tmp_path / 'killed' / 'metrics.jsonl'
    size = metrics_file.stat().st_size if metrics_file.exists() else 0
    while process.poll() is None and (
      not metrics_file.exists() or metrics_file.stat().st_size <= size
    ):
      time.sleep(0.02)
    time.sleep(random.uniform(0, 0.5))
    if process.poll() is not None:
      break
    process.kill()
    process.wait()
    kills += 1
  assert process.wait(300) == 0 and kills >= 2
  toy.assert_equal_runs(tmp_path / 'whole', tmp_path / 'killed')


def test_the_train_step_compiles_once(config, tmp_path, caplog):
  with jax.log_compiles(), caplog.at_level('WARNING'):
    pretraining.run(config(mesh__data=2), tmp_path / 'run', toy.silent)
  compiled = [
    record.message
    for record in caplog.records
    if record.message.startswith('Compiling jit(train_step)')
  ]
  assert len(compiled) == 1


def test_a_run_ends_early_when_the_held_out_loss_no_longer_improves(config, tmp_path):
  """With a rate that is nearly 0 nothing improves by so much."""
  c = config(
    optim__learning_rate=1e-9,
    total_steps=12,
    evaluation__every=2,
    evaluation__patience=2,
    evaluation__min_delta=0.5,
  )
  assert pretraining.run(c, tmp_path / 'run', toy.silent)
  why = 'reference_loss has not improved in 2 evaluations'
  assert workdir_lib.finished(tmp_path / 'run') == {'step': 6, 'reason': why}
  assert checkpoint.steps(tmp_path / 'run' / 'checkpoints')[-1] == 6


def test_a_run_starts_from_the_encoder_of_a_run_with_other_heads(config, whole_run, tmp_path):
  """The encoder is that run's, bit for bit; the head of the boundary loss is new, and named."""
  folder, _ = whole_run
  lines = []
  c = config(
    init_from=str(folder),
    objective__sbo_weight=0.5,
    masking__unit='word',
    checkpoint__log_spaced=True,
    total_steps=1,
    optim__warmup_steps=0,
  )
  assert pretraining.run(c, tmp_path / 'run', lines.append)
  (said,) = [line for line in lines if line.startswith('starts from')]
  assert said.startswith(f'starts from {folder} at step 6: takes embeddings, ')
  assert said.endswith('; new: boundary')
  theirs = checkpoint.read_model(folder / 'checkpoints')[1]
  ours = checkpoint.read_model(tmp_path / 'run' / 'checkpoints', 0)[1]
  assert ours.pop('boundary')
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_run_cannot_start_from_one_with_another_encoder(config, whole_run, tmp_path):
  c = config(init_from=str(whole_run[0]), model__width=64)
  says = 'config.init_from = .* has another model: embeddings/.* is .* there, .* here'
  with pytest.raises(config_lib.UserError, match=says):
    pretraining.run(c, tmp_path / 'run', toy.silent)
  assert not (tmp_path / 'run').exists()
