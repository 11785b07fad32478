"""One config fine-tuned with several seeds: a sweep of one arm, whose answer is a mean."""

from collections.abc import Callable
import dataclasses
import os
import pathlib

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.report import sweep_results
from mlm_jax.report import tables
from mlm_jax.report import task_sweep
from mlm_jax.sweeps import algebra
from mlm_jax.sweeps import launchers
from mlm_jax.sweeps import planning
from mlm_jax.sweeps import runner

RESULTS = 'results.csv'


def run(
  config: config_lib.Config,
  number: int,
  workdir: str | os.PathLike[str],
  log: Callable[[str], None] = print,
) -> bool:
  """Fine-tunes with seeds, one run after another; returns whether all are done.

  They are in WORKDIR/runs/seed=K; the means over those that are done are said, and each one's
  scores are in WORKDIR/results.csv. The same call resumes.

  Args:
    config: of fine-tuning; its seed is the first one.
    number: how many seeds.
    workdir: of all of them.
    log: takes lines of text.

  Raises:
    UserError: whatever is wrong with the config or its files; a folder that holds something else.
  """
  workdir = pathlib.Path(workdir)
  if (workdir / 'config.json').exists():
    raise config_lib.UserError(
      f'{workdir} holds a single run; with --seeds choose another --workdir'
    )
  sweep = planning.Sweep(
    base=config,
    runs=algebra.seeds(range(config.seed, config.seed + number)),
    question=f'How good is {config.task.name} after fine-tuning?',
  )
  plan = planning.plan(sweep, workdir, workdir, log)
  # There is one arm, which needs no name.
  named = tuple(dataclasses.replace(each, name=f'seed={each.seed}') for each in plan.runs)
  done = runner.run(dataclasses.replace(plan, runs=named), workdir, launchers.Local(), log)
  found = sweep_results.read(workdir)
  files.write(workdir / RESULTS, tables.results(found).encode())
  for line in (*task_sweep.means(found), f'results: {workdir / RESULTS}'):
    log(line)
  return done
