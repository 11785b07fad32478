"""What sweeps are given here: signals that are heard, no waiting, and an experiment to really
train.
"""

import signal

import pytest

from mlm_jax.sweeps import planning
from mlm_jax.sweeps import runner
from mlm_jax.sweeps import scoring
from tests.sweeps import processes


@pytest.fixture(autouse=True)
def signals_are_heard():
  """A shell that starts the tests in the background has them ignore SIGINT, and then a sweep does
  too.
  """
  ignored = [
    number
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if signal.getsignal(number) is signal.SIG_IGN
  ]
  for number in ignored:
    signal.signal(number, signal.default_int_handler)
  yield
  for number in ignored:
    signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def quick(monkeypatch):
  """No data is needed, nobody waits, and what was not trained is not scored."""
  monkeypatch.setattr(planning, 'prepare_data', lambda runs, log: None)
  monkeypatch.setattr(runner, '_PAUSE', 0.0)
  monkeypatch.setattr(scoring, 'score', lambda *unused: True)


@pytest.fixture(scope='module')
def experiment(tmp_path_factory):
  return processes.write_experiment(tmp_path_factory.mktemp('experiment'), [0.15, 0.3], 2)
