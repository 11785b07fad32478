"""A new kind of training is a Problem in one short file, and touches nothing in training/."""

import pathlib

import numpy as np

from mlm_jax.training import logs
from tests import toys
from tests.tasks import classification
from tests.training import toy


def data(number, seed):
  """Returns (tokens_NL, label_N): whether the token after [CLS] is a small number."""
  random = np.random.default_rng(seed)
  tokens_NL = random.integers(5, toys.VOCAB, (number, 8)).astype(np.int32)
  tokens_NL[:, 0], tokens_NL[:, -1] = toys.CLS, toys.SEP
  return tokens_NL, (tokens_NL[:, 1] < 32).astype(np.int32)


def test_a_classification_task_is_a_short_file():
  lines = pathlib.Path(classification.__file__).read_text().splitlines()
  assert len(lines) < 80


def test_it_learns_and_resumes_to_the_same_bits(tmp_path, monkeypatch):
  config = toys.config(
    model__layers=1,
    total_steps=60,
    batch_size=32,
    evaluation__every=20,
    checkpoint__every=20,
    log__every=20,
  )
  train = lambda name: classification.run(
    config, tmp_path / name, data(512, 0), data(256, 1), toy.silent
  )
  assert train('whole')
  assert logs.read_log(tmp_path / 'whole', 'evaluations')[-1]['validation_accuracy'] > 0.9
  with toy.stopped_at(30, monkeypatch):
    assert not train('stopped')
  assert train('stopped')
  toy.assert_equal_runs(tmp_path / 'whole', tmp_path / 'stopped')
