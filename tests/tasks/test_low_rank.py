"""Fine-tuning with low-rank adapters: what is trained, resumed, opened and exported."""

import json

import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.core import trees
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.tasks import finetuning
from mlm_jax.training import checkpoint
from mlm_jax.training import logs
from tests import shared_runs
from tests.tasks import test_finetuning
from tests.training import toy

LORA = {'task.lora.rank': 4, 'task.lora.rules': ('layers/.*',)}


@pytest.fixture(scope='module')
def start(tmp_path_factory):
  return shared_runs.trained(tmp_path_factory, 'start')


@pytest.fixture(scope='module')
def train(tmp_path_factory, start):
  path = tmp_path_factory.mktemp('examples') / 'train.csv'
  return test_finetuning.write_examples(path, shared_runs.corpus(tmp_path_factory), 160)


def config(start, train, **settings):
  return test_finetuning.config(start, train, **LORA | settings)


@pytest.fixture(scope='module')
def run(tmp_path_factory, start, train):
  """Returns (folder, what was said) of a finished run."""
  folder, said = tmp_path_factory.mktemp('runs') / 'run', []
  assert finetuning.run(config(start, train), folder, said.append)
  return folder, said


def raw(folder, step=None):
  return trees.paths(checkpoint.read_model(folder / 'checkpoints', step)[1])


def test_only_adapters_and_head_are_trained_and_it_learns(run, start):
  folder, said = run
  ours, theirs = raw(folder), raw(start)
  is_ours = lambda path: path.startswith('task/') or 'lora_' in path
  for path, leaf in ours.items():
    if is_ours(path):
      assert np.any(np.asarray(leaf)), path
    else:
      np.testing.assert_array_equal(leaf, theirs[path])
  trained, total = (
    sum(leaf.size for path, leaf in ours.items() if holds(path)) for holds in (is_ours, bool)
  )
  assert f'trains {trained:,} of {total:,} parameters' in said
  assert mlm_jax.open_run(folder).config.task.lora.rank == 0
  # As well as all the parameters do, see test_finetuning.
  assert json.loads((folder / 'test.json').read_text())['scores']['accuracy'] > 0.9


def test_a_stopped_run_ends_with_the_bytes_of_an_unbroken_one(
  run, start, train, tmp_path, monkeypatch
):
  with toy.stopped_at(7, monkeypatch):
    assert not finetuning.run(config(start, train), tmp_path / 'run', toy.silent)
  assert finetuning.run(config(start, train), tmp_path / 'run', toy.silent)
  toy.assert_equal_runs(run[0], tmp_path / 'run')
  for name in ('test.json', 'predictions.jsonl'):
    assert (run[0] / name).read_bytes() == (tmp_path / 'run' / name).read_bytes()


def logits(opened, texts):
  examples = [opened._task.unlabelled('', text, opened.config.task) for text in texts]
  return np.stack([each['logits_BSC'] for each in opened.outputs(examples)])


def test_merged_and_exported_weights_give_the_logits_of_the_adapters(run, train, tmp_path):
  folder, _ = run
  lines = [json.loads(line) for line in (folder / 'predictions.jsonl').read_text().splitlines()]
  opened = mlm_jax.open_run(folder)
  texts = [line['text'] for line in lines]
  # predictions.jsonl is by the adapters, beside the frozen kernels.
  for line, each in zip(lines, opened.predict(texts), strict=True):
    assert each['prediction'] == line['prediction']
    assert each['probabilities'] == pytest.approx(line['probabilities'], abs=1e-5)
  assert not any('lora_' in path for path in trees.paths(opened.trained))
  exporting.run(folder, tmp_path / 'to', log=toy.silent)
  importing.run(tmp_path / 'to', tmp_path / 'again', log=toy.silent)
  again = mlm_jax.open_run(tmp_path / 'again')
  # Short ones: what is longer than a row is cut where it was trained, and not there.
  texts = [' '.join(text.split()[:2]) for text in texts]
  np.testing.assert_allclose(logits(again, texts), logits(opened, texts), atol=1e-5)
  assert np.ptp(logits(opened, texts)) > 0.5


def test_a_run_with_adapters_is_a_start_too(run, train, tmp_path):
  c = test_finetuning.config(run[0], train, **LORA | {'total_steps': 1})
  assert finetuning.run(c, tmp_path / 'second', toy.silent)
  merged = trees.paths(mlm_jax.open_run(run[0]).trained)
  for path, leaf in raw(tmp_path / 'second').items():
    if path.startswith('layers/') and 'lora_' not in path:
      np.testing.assert_array_equal(leaf, merged[path])


@pytest.mark.slow
@pytest.mark.parametrize('axis', ('fsdp', 'tensor'))
def test_adapters_are_the_same_on_a_mesh(run, start, train, tmp_path, axis):
  c = config(start, train, **{f'mesh.{axis}': 2, 'total_steps': 3, 'epochs': 0.0})
  alone = config(start, train, **{'mesh.devices': 1, 'total_steps': 3, 'epochs': 0.0})
  assert finetuning.run(c, tmp_path / 'mesh', toy.silent)
  assert finetuning.run(alone, tmp_path / 'alone', toy.silent)
  found = [
    [line['loss'] for line in logs.read_log(tmp_path / name, 'metrics')]
    + [line['validation_loss'] for line in logs.read_log(tmp_path / name, 'evaluations')]
    for name in ('mesh', 'alone')
  ]
  np.testing.assert_allclose(*found, rtol=1e-5)


def test_what_cannot_work_is_refused_and_leaves_nothing(start, train, tmp_path):
  folder = tmp_path / 'run'
  nothing = {'task.lora.rules': ('layers/.*', '.*/bias')}
  test_finetuning.refused(
    config(start, train, **nothing), folder, r"'\.\*/bias' matches no kernel .* layers/attention/"
  )
  for settings, says in (
    ({'task.freeze': ('embeddings/.*',)}, 'task.freeze'),
    ({'task.lora.rank': 0}, 'task.lora.rules'),
    ({'task.lora.rules': ()}, 'task.lora.rules'),
    ({'task.lora.rules': ('[',)}, 'regular expressions'),
    ({'task.lora.rank': -1}, 'at least 0'),
    ({'task.lora.alpha': 0.0}, 'above 0'),
  ):
    with pytest.raises(config_lib.UserError, match=says):
      config(start, train, **settings)
