"""A Problem without text: linear regression, trained in milliseconds by everything there is."""

import contextlib
import functools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.training import checkpoint
from mlm_jax.training import launch
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding
from mlm_jax.training import signals

EXAMPLES, WIDTH = 64, 4
TRUE_W = np.linspace(-1, 2, WIDTH).astype(np.float32)


def silent(line):
  del line


def config(**settings):
  """Returns a checked config; settings as dotted keys with __ for dots."""
  c = config_lib.base()
  c.unlock()
  c.batch_size, c.total_steps = 8, 6
  c.optim.update(warmup_steps=2, learning_rate=1e-1)
  c.evaluation.update(every=3)
  c.checkpoint.every = 2
  c.log.update(every=2, trackers='')
  for key, value in settings.items():
    *groups, name = key.split('__')
    functools.reduce(lambda group, each: group[each], groups, c)[name] = value
  config_lib.check(c)
  c.lock()
  return c


def data():
  """Returns (x_NW, y_N)."""
  random = np.random.default_rng(0)
  x_NW = random.normal(size=(EXAMPLES, WIDTH)).astype(np.float32)
  return x_NW, x_NW @ TRUE_W + 0.1 * random.normal(size=EXAMPLES).astype(np.float32)


class Regression:
  """Squared error; dropout of inputs, so that a run depends on its keys."""

  coefficients = {'error': 1.0}

  def __init__(self, dropout=0.1, poison=None):
    self._dropout, self._poison = dropout, poison

  def init(self, key):
    return {'linear': {'kernel': 0.1 * jax.random.normal(key, (WIDTH,)), 'bias': jnp.zeros(())}}

  def prepare(self, hparams, aux, batch, root_key, progress):
    x_BW, y_B = batch
    return x_BW * hparams['scale'], y_B, jnp.broadcast_to(aux['steps'], y_B.shape)

  def weights(self, inputs):
    return {'error': jnp.float32(inputs[1].shape[0])}

  def loss(self, params, inputs, dropout_key):
    x_BW, y_B, steps_B = inputs
    if dropout_key is not None and self._dropout:
      x_BW = x_BW * jax.random.bernoulli(dropout_key, 1 - self._dropout, x_BW.shape)
    away_B = x_BW @ params['linear']['kernel'] + params['linear']['bias'] - y_B
    if self._poison is not None:
      away_B = away_B * jnp.where(steps_B >= self._poison, jnp.nan, 1.0)
    total = (away_B**2).sum()
    return (
      {'error': total},
      {'error': (total, jnp.float32(len(y_B)))},
      {'examples': jnp.float32(len(y_B))},
    )

  def adapt(self, hparams, aux, counts, step, progress):
    return {'examples': aux['examples'] + counts['examples'], 'steps': aux['steps'] + 1}


def problem(config, mesh, objective=None, score=None, **changes):
  """Returns the Problem of a config; score(params, progress) -> float replaces the evaluation."""
  objective = objective or Regression()
  x_NW, y_N = data()

  def stage(first, c):
    def examples(step):
      random = np.random.default_rng([c.seed, step])
      return random.choice(EXAMPLES, c.batch_size, replace=False)

    def batch(step):
      rows = examples(step)[sharding.local_rows(mesh, c.batch_size)]
      return x_NW[rows], y_N[rows]

    hparams = {'scale': np.float32(1 + c.masking.rate - 0.15)}
    return problem_lib.Stage(first, c, objective, hparams, batch, examples)

  @jax.jit
  def error(params):
    return jnp.mean((x_NW @ params['linear']['kernel'] + params['linear']['bias'] - y_N) ** 2)

  def evaluate(params, aux, progress):
    params = jax.device_get(params)
    return {'error': score(params, progress) if score else float(error(params))}

  return problem_lib.Problem(
    **{
      'stages': tuple(stage(first, c) for first, c in config_lib.stages(config)),
      'init': objective.init,
      'evaluators': {'fit': evaluate},
      'ranking': problem_lib.Ranking('fit', 'error'),
      'fingerprints': {'data_fingerprint': 'toy'},
      'aux': {'examples': np.float32(0), 'steps': np.int32(0)},
      'final_reports': lambda params, aux: {'weights.json': {'examples': float(aux['examples'])}},
      'work': lambda sums: {'examples': float(sums['error'][1])},
      'shown': ('error',),
      'spike_metric': 'error',
      **changes,
    }
  )


def train(config, workdir, log=silent, profile=False, changed_code=False, **changes):
  """Trains the toy in workdir; returns what launch.run does."""
  make = lambda mesh, log: problem(config, mesh, **changes)
  return launch.run(config, workdir, make, log, profile, changed_code)


@contextlib.contextmanager
def stopped_at(step, monkeypatch):
  """Sends SIGTERM at a step of whatever trains inside, which stops there."""
  ask = signals.StopSignal.at

  def at(self, now):
    if now == step:
      os.kill(os.getpid(), signal.SIGTERM)
    return ask(self, now)

  with monkeypatch.context() as patch:
    patch.setattr(signals.StopSignal, 'at', at)
    yield


def train_until(config, workdir, step, monkeypatch, **changes):
  """Trains the toy until a step that SIGTERM ends."""
  with stopped_at(step, monkeypatch):
    assert not train(config, workdir, **changes)


def assert_equal_runs(a, b):
  """Bit for bit, in all that is deterministic."""
  for name in ('metrics.jsonl', 'evaluations.jsonl', 'spikes.jsonl'):
    assert (a / name).read_text() == (b / name).read_text()
  assert_equal_models(a, b)


def assert_equal_models(a, b):
  """Bit for bit, at their newest checkpoints."""
  models = [checkpoint.read_model(each / 'checkpoints') for each in (a, b)]
  jax.tree.map(np.testing.assert_array_equal, *models)
