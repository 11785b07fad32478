"""Every finished run is scored under the policies of all arms, once, on the same rows and masks."""

import json
import shutil

import jax
import numpy as np
import pytest
import scipy.special

import mlm_jax
from mlm_jax import masking
from mlm_jax import sweeps
from mlm_jax.core import batches
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import store
from mlm_jax.evaluation import heldout
from mlm_jax.inference import evaluate
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import plan_text
from mlm_jax.sweeps import policies as policies_lib
from mlm_jax.sweeps import scoring
from mlm_jax.training import workdir as workdir_lib
from tests import shared_runs
from tests.sweeps import experiments

_RUNS = sweeps.product(sweeps.param('masking.unit', ['token', 'word']), sweeps.seeds(2))
_NAMES = [f'unit={unit}_seed={seed}' for unit in ('token', 'word') for seed in range(2)]


@pytest.fixture
def sweep(tmp_path, tmp_path_factory):
  """(Plan, its folder): the first three runs are finished, and are one run."""
  run = shared_runs.from_the_command_line(tmp_path_factory)
  base = workdir_lib.read_config(run)
  for name in _NAMES[:3]:
    shutil.copytree(run, tmp_path / 'runs' / name, ignore=shutil.ignore_patterns('data'))
  base.unlock()
  base.data.prepared = str(run / 'data')
  plan = experiments.plan(tmp_path, _RUNS, base)
  layout.write(plan, tmp_path)
  for name in _NAMES[:3]:  # where their data is; the config of a finished run is not written
    workdir_lib.write_config(tmp_path / 'runs' / name, base)
  return plan, tmp_path


def scores(folder, name):
  """Returns {unit: loss} of scores.json."""
  content = json.loads((folder / 'runs' / name / 'scores.json').read_text())
  assert content['step'] == 6
  return {each['masking']['unit']: each['loss'] for each in content['under']}


def test_finished_runs_are_scored_under_the_policies_of_all_arms(sweep):
  plan, folder = sweep
  lines = []
  assert scoring.score(plan, folder, lines.append)
  assert lines == [
    f'scores run {n} of 3 under 2 more of the policies: {name}'
    for n, name in enumerate(_NAMES[:3], 1)
  ]
  # One model under the same masks, whichever arm and seed it is called.
  assert scores(folder, _NAMES[0]) == scores(folder, _NAMES[1]) == scores(folder, _NAMES[2])
  assert not (folder / 'runs' / _NAMES[3] / 'scores.json').exists()
  for name, settings in policies_lib.differing(plan.runs).items():
    expected = _loss(folder / 'runs' / _NAMES[0], settings)
    assert scores(folder, _NAMES[0])[name.removeprefix('unit=')] == pytest.approx(expected, 1e-5)


def _loss(folder, settings):
  """Returns the mean loss of a run's hidden tokens, by a loop over its held-out rows."""
  run, config = mlm_jax.open_run(folder), workdir_lib.read_config(folder)
  prepared = store.open_prepared(config.data.prepared)
  policy = masking.make(prepared.table, **settings)
  loader = loader_lib.EvaluationLoader(prepared, 8, config.evaluation.rows)
  mask, apply, head = map(jax.jit, (masking.mask_batch, run.model.apply, run.model.head))
  losses = []
  for number in range(len(loader)):
    rows = loader.batch(number)
    masked = mask(policy, heldout.reference_key(), rows, 1.0)
    segments_BL = batches.segments(rows.tokens_BL, rows.starts_BS, prepared.tokenizer.pad_id)
    positions_BL = batches.positions(rows.starts_BS, rows.tokens_BL.shape[1])
    encoded = apply(run.params, masked.inputs_BL, segments_BL, positions_BL)
    logits_NV = head(run.params, encoded.decoded_BLD.reshape(-1, encoded.decoded_BLD.shape[-1]))
    log_NV = np.asarray(logits_NV, np.float64)
    log_NV -= scipy.special.logsumexp(log_NV, axis=1, keepdims=True)
    target_N, chosen_N = (np.asarray(x).ravel() for x in (masked.targets_BL, masked.chosen_BL))
    losses += (-log_NV[np.arange(len(target_N)), target_N])[chosen_N].tolist()
  return np.mean(losses)


def test_what_is_scored_is_not_scored_again_and_a_killed_sweep_goes_on(sweep, monkeypatch):
  plan, folder = sweep
  under, asked = evaluate.Opened.under, []

  def killed(self, settings, progress):
    asked.append(settings['unit'])
    if len(asked) == 2:
      raise KeyboardInterrupt
    return under(self, settings, progress)

  monkeypatch.setattr(evaluate.Opened, 'under', killed)
  with pytest.raises(KeyboardInterrupt):
    scoring.score(plan, folder, experiments.QUIET)
  assert list(scores(folder, _NAMES[0])) == ['token']
  text = ' '.join(plan_text.lines(plan, folder))
  assert 'scored under the policies of all when it is done: unit=token, unit=word' in text
  assert 'FLOPs (' in text and '0 of 4 are' in text
  assert scoring.score(plan, folder, experiments.QUIET)
  assert asked == ['token', 'word', 'word', 'token', 'word', 'token', 'word']
  assert '3 of 4 are' in ' '.join(plan_text.lines(plan, folder))
  before = (folder / 'runs' / _NAMES[0] / 'scores.json').read_bytes()
  assert scoring.score(plan, folder, experiments.QUIET) and len(asked) == 7
  assert (folder / 'runs' / _NAMES[0] / 'scores.json').read_bytes() == before


def test_runs_of_one_model_share_their_programs(sweep):
  plan, folder = sweep
  scoring.score(plan, folder, experiments.QUIET)
  (folder / 'runs' / _NAMES[2] / 'scores.json').unlink()
  compiled = []
  listen = lambda event, *_, **__: compiled.append(event) if 'backend_compile' in event else None
  jax.monitoring.register_event_duration_secs_listener(listen)
  scoring.score(plan, folder, experiments.QUIET)
  jax.monitoring.unregister_event_duration_listener(listen)
  assert not compiled


def test_a_run_that_cannot_be_opened_leaves_the_others_to_be_scored(sweep):
  plan, folder = sweep
  shutil.rmtree(folder / 'runs' / _NAMES[0] / 'tokenizer')
  lines = []
  assert not scoring.score(plan, folder, lines.append)
  assert any(line.startswith(f'{_NAMES[0]} cannot be scored: ') for line in lines)
  assert set(scores(folder, _NAMES[1])) == {'token', 'word'}


def test_a_policy_that_the_data_lack_something_for_is_left_out(sweep):
  _, folder = sweep
  base = workdir_lib.read_config(folder / 'runs' / _NAMES[0])
  runs = [{'masking.unit': 'token', 'seed': 0}, {'masking.unit': 'collocation', 'seed': 0}]
  runs[1] |= {'data.collocations': 100}
  plan = experiments.plan(folder, runs, base)
  (folder / 'runs' / _NAMES[0]).rename(folder / 'runs' / plan.runs[0].name)
  lines = []
  assert scoring.score(plan, folder, lines.append)
  assert set(scores(folder, plan.runs[0].name)) == {'token'}
  assert 'prepared without config.data.collocations' in lines[-1]


def test_arms_that_hide_the_same_are_scored_under_no_other_masks(sweep):
  _, folder = sweep
  base = workdir_lib.read_config(folder / 'runs' / _NAMES[0])
  plan = experiments.plan(folder, sweeps.param('optim.learning_rate', [1e-3, 2e-3]), base)
  assert scoring.finished(plan, folder) == []
  assert 'scored under' not in ' '.join(plan_text.lines(plan, folder))
