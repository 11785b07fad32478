"""Runs: exact when taken up again, refused when not the same, clear when they cannot go on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.core import metrics
from mlm_jax.models import flops
from mlm_jax.tasks import pretraining
from mlm_jax.training import checkpoint
from mlm_jax.training import compiled
from mlm_jax.training import logs
from mlm_jax.training import loop
from mlm_jax.training import workdir as workdir_lib
from tests import toys


@pytest.fixture(scope='session')
def corpus(tmp_path_factory):
  return toys.write_corpus(tmp_path_factory.mktemp('corpus') / 'corpus.txt')


@pytest.fixture(scope='session')
def prepared(tmp_path_factory, corpus):
  """The folder of data that all runs here share."""
  folder = tmp_path_factory.mktemp('prepared') / 'data'
  pretraining.prepare_data(
    toys.training_config(corpus, data__prepared=str(folder)), None, lambda line: None
  )
  return folder


@pytest.fixture
def config(corpus, prepared):
  def make(**settings):
    return toys.training_config(corpus, **{'data__prepared': str(prepared), **settings})

  return make


@pytest.fixture(scope='session')
def whole_run(tmp_path_factory, corpus, prepared):
  """The folder of a run of the plain config."""
  folder = tmp_path_factory.mktemp('whole') / 'run'
  assert pretraining.run(
    toys.training_config(corpus, data__prepared=str(prepared)), folder, lambda line: None
  )
  return folder


def params_of(workdir, step=None):
  return checkpoint.read_model(workdir / 'checkpoints', step)[1]


def assert_equal_runs(a, b):
  for name in ('metrics.jsonl', 'evaluations.jsonl'):
    assert (a / name).read_text() == (b / name).read_text()
  jax.tree.map(np.testing.assert_array_equal, params_of(a), params_of(b))


def train_until(config, workdir, step, monkeypatch):
  """Trains and stops as SIGTERM at a step would."""
  advance = loop._Loop.advance

  def stopped(self, at, *rest):
    if at == step:
      os.kill(os.getpid(), signal.SIGTERM)
    return advance(self, at, *rest)

  with monkeypatch.context() as patch:
    patch.setattr(loop._Loop, 'advance', stopped)
    return pretraining.run(config, workdir, lambda line: None)


def test_a_run_leaves_what_it_says(config, tmp_path, prepared):
  lines = []
  assert pretraining.run(config(log__tensorboard=True), tmp_path / 'run', lines.append)
  run = tmp_path / 'run'
  assert {each.name for each in run.iterdir()} == {
    'checkpoints',
    'config.json',
    'environment.json',
    'evaluations.jsonl',
    'lock',
    'metrics.jsonl',
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


def test_utilisation_is_told_where_the_peak_is_known(config, tmp_path, monkeypatch):
  monkeypatch.setattr(compiled.flops, 'peak', lambda kind: 1e12)
  lines = []
  pretraining.run(config(), tmp_path / 'run', lines.append)
  architecture = models.make(config().model, 320).architecture
  for line, values in zip(
    logs.read_log(tmp_path / 'run', 'timing'),
    logs.read_log(tmp_path / 'run', 'metrics'),
  ):
    tokens = 2 * 8 * 16 * (1 - values['padding'])
    needed = flops.training(architecture, tokens, tokens * values['attended'], 0.15 * 0.8 * tokens)
    assert line['model_flops_per_second'] * line['seconds'] == pytest.approx(needed, rel=0.1)
    assert line['utilisation'] == pytest.approx(line['model_flops_per_second'] / 2e12, rel=1e-5)
  assert any('% of the peak' in line for line in lines)


def test_a_finished_run_says_so(config, tmp_path):
  pretraining.run(config(), tmp_path / 'run', lambda line: None)
  before = (tmp_path / 'run' / 'metrics.jsonl').read_bytes()
  lines = []
  assert pretraining.run(config(), tmp_path / 'run', lines.append)
  assert 'is finished: 6 steps' in lines[-1]
  assert (tmp_path / 'run' / 'metrics.jsonl').read_bytes() == before


@pytest.mark.parametrize(
  'settings',
  (
    dict(),
    dict(model__dropout=0.1, grad_accumulation_steps=2, mesh__data=2, model__head_rows=1),
    pytest.param(dict(objective__name='rtd', model__dropout=0.1), marks=pytest.mark.slow),
  ),
)
def test_a_run_stopped_anywhere_and_taken_up_equals_one_never_stopped(
  config, tmp_path, monkeypatch, settings
):
  # Steps 3 and 5 lie between two lines of the log, where the window is half full.
  c = config(checkpoint__every=4, **settings)
  assert pretraining.run(c, tmp_path / 'whole', lambda line: None)
  for step in (3, 5):
    assert not train_until(c, tmp_path / 'stopped', step, monkeypatch)
    assert checkpoint.steps(tmp_path / 'stopped' / 'checkpoints')[-1] == step
  assert pretraining.run(c, tmp_path / 'stopped', lambda line: None)
  assert_equal_runs(tmp_path / 'whole', tmp_path / 'stopped')


@pytest.mark.parametrize('mesh', (dict(mesh__fsdp=2), dict(mesh__tensor=2), dict(mesh__devices=1)))
def test_a_run_saved_on_one_mesh_goes_on_on_another(config, tmp_path, monkeypatch, mesh, whole_run):
  train_until(config(), tmp_path / 'run', 4, monkeypatch)
  lines = []
  assert pretraining.run(config(**mesh), tmp_path / 'run', lines.append)
  assert any('resumes at step 4' in line for line in lines)
  for name in ('metrics', 'evaluations'):
    for ours, theirs in zip(logs.read_log(tmp_path / 'run', name), logs.read_log(whole_run, name)):
      assert ours == pytest.approx(theirs, rel=2e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5),
    params_of(tmp_path / 'run'),
    params_of(whole_run),
  )


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
    lambda line: None,
  )
  values = logs.read_log(tmp_path / 'run', 'evaluations')[-1]
  losses = [values['reference_loss_on_corpus'], values['reference_loss_on_other']]
  assert min(losses) < values['reference_loss'] < max(losses) and 'policy_loss_on_other' in values


def test_a_profile_is_written_when_it_is_asked_for(config, tmp_path):
  lines = []
  pretraining.run(config(total_steps=12), tmp_path / 'run', lines.append, profile=True)
  assert (
    list((tmp_path / 'run' / 'profile').rglob('*.xplane.pb'))
    and f'profile: {tmp_path}/run/profile' in lines
  )
  pretraining.run(config(total_steps=2), tmp_path / 'short', lines.append, profile=True)
  assert not (tmp_path / 'short' / 'profile').exists()
  assert 'profile: none, since the run ended before step 6' in lines


def test_a_run_whose_newest_checkpoint_is_broken_goes_on_from_the_one_before(config, tmp_path):
  assert pretraining.run(config(), tmp_path / 'whole', lambda line: None)
  assert pretraining.run(config(), tmp_path / 'run', lambda line: None)
  (tmp_path / 'run' / 'checkpoints' / '6' / checkpoint.MANIFEST).write_text('{}')
  lines = []
  assert pretraining.run(config(), tmp_path / 'run', lines.append)
  assert any('6.broken' in line for line in lines) and any(
    'resumes at step 4' in line for line in lines
  )
  assert_equal_runs(tmp_path / 'whole', tmp_path / 'run')


def test_a_damaged_line_of_a_log_is_named_and_not_dropped(config, tmp_path, monkeypatch):
  train_until(config(), tmp_path / 'run', 4, monkeypatch)
  log = tmp_path / 'run' / 'metrics.jsonl'
  whole = log.read_text()
  damaged = whole.replace('{', '', 1)
  log.write_text(damaged)
  with pytest.raises(config_lib.UserError, match='metrics.jsonl line 1 is damaged'):
    pretraining.run(config(), tmp_path / 'run', lambda line: None)
  assert log.read_text() == damaged
  log.write_text(whole + '{"step": 4, "lo')
  assert logs.read_log(tmp_path / 'run', 'metrics') == [
    json.loads(line) for line in whole.splitlines()
  ]


def test_log_spaced_checkpoints_stay(config, tmp_path):
  pretraining.run(
    config(checkpoint__log_spaced=True, checkpoint__keep_latest=1),
    tmp_path / 'run',
    lambda line: None,
  )
  assert checkpoint.steps(tmp_path / 'run' / 'checkpoints') == [0, 1, 2, 4, 6]


def test_reference_masks_are_the_same_whatever_the_seed_and_the_policy(config, tmp_path):
  masks = []
  for settings in (
    dict(seed=1),
    dict(seed=2, masking__rate=0.4, masking__corruption_probs=(0.5, 0.5, 0.0)),
  ):
    c = config(**settings)
    mesh = pretraining.sharding.make_mesh(c.mesh)
    problem = pretraining.problem(c, pretraining.prepare_data(c, tmp_path, lambda line: None), mesh)
    scores = problem.evaluators['reference'](problem.init(jax.random.key(3)), 0.5, {})
    masks.append({key: scores[key] for key in ('loss', 'rate', 'accuracy')})
    # Sixteen short rows round their counts: the rate's standard deviation is .01.
    assert scores['loss_masked'] == scores['loss'] and scores['rate'] == pytest.approx(
      0.15, abs=0.05
    )
  assert masks[0] == masks[1]


def test_another_config_is_refused_by_key_and_an_operational_one_is_not(config, tmp_path):
  pretraining.run(config(total_steps=2), tmp_path / 'run', lambda line: None)
  with pytest.raises(config_lib.UserError, match='config.masking.rate is 0.3 here, 0.15 there'):
    pretraining.run(config(total_steps=2, masking__rate=0.3), tmp_path / 'run', lambda line: None)
  assert pretraining.run(
    config(total_steps=2, checkpoint__every=1, log__every=1), tmp_path / 'run', lambda line: None
  )


def test_two_processes_do_not_share_a_work_directory(config, tmp_path):
  with workdir_lib.locked(tmp_path / 'run'):
    with pytest.raises(config_lib.UserError, match='another process is at work'):
      pretraining.run(config(), tmp_path / 'run', lambda line: None)


def test_a_work_directory_that_cannot_be_written_is_named(config, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(config_lib.UserError, match='cannot write to work directory'):
    pretraining.run(config(), tmp_path / 'file' / 'run', lambda line: None)


def test_a_read_only_work_directory_is_named():
  with toys.read_only_folder() as folder:
    for workdir in (folder, folder / 'run'):
      with pytest.raises(
        config_lib.UserError, match=f'cannot write to work directory {workdir}: Permission denied'
      ):
        with workdir_lib.locked(workdir):
          pass
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
  'settings, says',
  (
    (dict(mesh__devices=9), 'there are 2 devices'),
    (dict(batch_size=9, mesh__data=2), 'config.batch_size = 9: must be a multiple of 2'),
    (dict(evaluation__batch_size=3, mesh__data=2), 'config.evaluation.batch_size = 3'),
    (dict(model__head_rows=3), 'config.model.head_rows = 3: must divide the 4 rows'),
    (dict(optim__decay_rules=(('.*kernel', True),)), 'no rule matches parameter'),
  ),
)
def test_what_cannot_work_together_is_said_before_the_data_is_touched(
  config, tmp_path, settings, says
):
  with pytest.raises(config_lib.UserError, match=says):
    pretraining.run(
      config(**settings, data__prepared='', data__source='text:absent'),
      tmp_path / 'run',
      lambda line: None,
    )
  assert not (tmp_path / 'run').exists()


def test_a_corpus_too_small_for_a_batch_is_said(config, tmp_path):
  with pytest.raises(config_lib.UserError, match='too small for one batch'):
    pretraining.run(config(batch_size=100_000), tmp_path / 'run', lambda line: None)
  assert not (tmp_path / 'run').exists()


def test_a_finished_run_says_so_even_where_its_data_is_gone(config, tmp_path, corpus):
  c = config(data__prepared='', total_steps=2)
  pretraining.run(c, tmp_path / 'run', lambda line: None)
  shutil.rmtree(tmp_path / 'run' / 'data')
  lines = []
  assert pretraining.run(c, tmp_path / 'run', lines.append)
  assert 'is finished' in lines[0]


def test_an_evaluation_without_a_prediction_does_not_end_the_run(config, tmp_path):
  c = config(masking__rate=1e-6, masking__sampling='bernoulli')
  assert pretraining.run(c, tmp_path / 'run', lambda line: None)
  assert 'policy_loss' not in logs.read_log(tmp_path / 'run', 'evaluations')[-1]


def test_the_best_step_is_kept_also_where_no_save_was_due(config, tmp_path):
  c = config(
    total_steps=12,
    checkpoint__every=5,
    checkpoint__keep_latest=1,
    evaluation__every=2,
    optim__learning_rate=0.3,
  )
  pretraining.run(c, tmp_path / 'run', lambda line: None)
  losses = {
    line['step']: line['reference_loss'] for line in logs.read_log(tmp_path / 'run', 'evaluations')
  }
  best = min(losses, key=losses.get)
  assert set(checkpoint.steps(tmp_path / 'run' / 'checkpoints')) == {best, 12}


def test_an_empty_folder_of_the_users_stays(config, tmp_path):
  (tmp_path / 'run').mkdir()
  with pytest.raises(config_lib.UserError):
    pretraining.run(config(batch_size=100_000), tmp_path / 'run', lambda line: None)
  assert list((tmp_path / 'run').iterdir()) == []


def test_another_tokenizer_is_refused(config, tmp_path, monkeypatch):
  train_until(config(), tmp_path / 'run', 2, monkeypatch)
  environment = tmp_path / 'run' / 'environment.json'
  environment.write_text(environment.read_text().replace('"tokenizer": "', '"tokenizer": "0'))
  with pytest.raises(config_lib.UserError, match='trained with another tokenizer'):
    pretraining.run(config(), tmp_path / 'run', lambda line: None)


def test_non_finite_gradients_in_a_row_end_the_run(config, tmp_path):
  c = config(
    optim__learning_rate=1e30,
    optim__max_consecutive_nonfinite=2,
    total_steps=20,
    optim__warmup_steps=0,
    optim__clip_norm=0.0,
  )
  with pytest.raises(loop.Diverged, match='2 gradients in a row were not finite'):
    pretraining.run(c, tmp_path / 'run', lambda line: None)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params_of(tmp_path / 'run')))


def test_a_full_disk_is_said_and_the_checkpoint_before_survives(config, tmp_path):
  """A file-size limit stands for the full disk; it must hit the save, not the compiler's cache."""
  run = tmp_path / 'run'
  c = config(total_steps=4, checkpoint__every=2, evaluation__every=4)
  config_file = tmp_path / 'config.json'
  config_file.write_text(config_lib.to_json(c))
  script = (
    'import resource, pathlib, sys\n'
    'from mlm_jax import config, pretrain, checkpoint\n'
    'save = checkpoint.Checkpoints.save\n'
    'def limited(self, step, *rest):\n'
    '  if step == 4:\n'
    '    self.wait()\n'
    '    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n'
    '  save(self, step, *rest)\n'
    'checkpoint.Checkpoints.save = limited\n'
    f'c = config.from_json(pathlib.Path({str(config_file)!r}).read_text())\n'
    'try:\n'
    f'  pretrain.run(c, {str(run)!r}, print)\n'
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
  assert 'step 2 is intact there' in done.stdout
  assert checkpoint.read_model(run / 'checkpoints')[0] == 2
  assert pretraining.run(c, run, lambda line: None)
  assert pretraining.run(c, tmp_path / 'whole', lambda line: None)
  assert_equal_runs(tmp_path / 'whole', run)


@pytest.mark.slow
def test_a_run_killed_again_and_again_equals_one_never_killed(config, tmp_path):
  c = config(total_steps=40, checkpoint__every=3, evaluation__every=10, model__dropout=0.1)
  config_file = tmp_path / 'config.json'
  config_file.write_text(config_lib.to_json(c))
  script = (
    'import pathlib, sys\nfrom mlm_jax import config, pretrain\n'
    f'c = config.from_json(pathlib.Path({str(config_file)!r}).read_text())\n'
    'pretrain.run(c, sys.argv[1], print)\n'
  )
  cache = jax.config.jax_compilation_cache_dir
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
  assert_equal_runs(tmp_path / 'whole', tmp_path / 'killed')


def test_metrics_do_not_depend_on_how_sums_are_grouped():
  random = np.random.default_rng(0)
  parts = [{'loss': (random.uniform(1, 9), float(random.integers(0, 5)))} for _ in range(6)]
  parts = [{'loss': (total * weight, weight)} for part in parts for total, weight in part.values()]
  left = parts[0]
  for part in parts[1:]:
    left = metrics.add(left, part)
  right = metrics.add(
    metrics.add(metrics.add(parts[5], parts[4]), parts[3]),
    metrics.add(parts[2], metrics.add(parts[1], parts[0])),
  )
  assert metrics.means(left) == pytest.approx(metrics.means(right), rel=1e-12)
  assert metrics.means({'loss': (0.0, 0.0)}) == {}


def test_the_train_step_compiles_once(config, tmp_path, caplog):
  with jax.log_compiles(), caplog.at_level('WARNING'):
    pretraining.run(config(mesh__data=2), tmp_path / 'run', lambda line: None)
  compiled = [
    record.message
    for record in caplog.records
    if record.message.startswith('Compiling jit(train_step)')
  ]
  assert len(compiled) == 1
