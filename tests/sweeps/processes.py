"""Sweeps as their users start them: `mlm-jax sweep` in a process of its own, and its runs in
theirs.
"""

import os
import pathlib
import subprocess
import sys
import time

import jax
import numpy as np

from mlm_jax.training import checkpoint
from tests import shared_runs
from tests import toys
from tests.sweeps import experiments

_BODY = """c = toys.training_config({corpus!r}, total_steps={steps}, log__every=10,
evaluation__every=100,
                         checkpoint__every=20, model__layers=1)
return sweeps.Sweep(base=c, question='Does the rate matter?', runs=sweeps.product(
    sweeps.param('masking.rate', {rates}), sweeps.seeds({seeds})))"""


def write_experiment(folder, rates, seeds, steps=400):
  corpus = toys.write_corpus(folder / 'corpus.txt')
  return experiments.write(
    folder / 'rate', _BODY.format(corpus=str(corpus), rates=rates, seeds=seeds, steps=steps)
  )


def sweep_command(experiment, workdir, *flags):
  """Starts `mlm-jax sweep`."""
  return subprocess.Popen(
    [sys.executable, '-m', 'mlm_jax', 'sweep', str(experiment), f'--workdir={workdir}', *flags],
    env={**os.environ, **compilation_cache()},
    cwd=pathlib.Path(__file__).parents[2],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def compilation_cache():
  """Returns what lets processes share the compiled programs of these tests."""
  return {
    'JAX_COMPILATION_CACHE_DIR': shared_runs.compilation_cache(),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }


def wait_for_step(workdir, name, step):
  wait_until(
    lambda: max(checkpoint.steps(workdir / 'runs' / name / 'checkpoints'), default=0) >= step,
    f'{name} comes to step {step}',
  )


def wait_until(holds, what):
  """Returns once holds() does; ten minutes are for a machine that is busy with other tests."""
  end = time.monotonic() + 600
  while not holds():
    assert time.monotonic() < end, f'in ten minutes it never was that {what}'
    time.sleep(0.05)


def process_of(workdir, name):
  """Returns the id of the process that trains a run."""
  wanted = f'--workdir={workdir}/runs/{name}'.encode()
  for each in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
    if wanted in each.read_bytes().split(b'\0'):
      return int(each.parent.name)


def assert_equal_sweeps(one, other, names=experiments.NAMES, steps=400):
  for name in names:
    scored = ['scores.json'] if (one / 'runs' / name / 'scores.json').exists() else []
    for log in ('metrics.jsonl', 'evaluations.jsonl', *scored):
      assert (one / 'runs' / name / log).read_bytes() == (
        other / 'runs' / name / log
      ).read_bytes(), name
    params = [
      checkpoint.read_model(each / 'runs' / name / 'checkpoints', steps)[1] for each in (one, other)
    ]
    jax.tree.map(np.testing.assert_array_equal, *params)
