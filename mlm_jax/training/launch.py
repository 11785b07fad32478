"""From a config to a trained run, whatever it trains: one process, or several that agree."""

from collections.abc import Callable
import contextlib
import pathlib
import shutil
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax.core import compilation_cache
from mlm_jax.training import changes
from mlm_jax.training import distributed
from mlm_jax.training import logs
from mlm_jax.training import loop
from mlm_jax.training import own_code
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding
from mlm_jax.training import trackers
from mlm_jax.training import workdir as workdir_lib

Log = Callable[[str], None]


def run(
  config: Any,
  workdir: str | pathlib.Path,
  make_problem: Callable[[jax.sharding.Mesh, Log], problem_lib.Problem],
  log: Log = print,
  profile: bool = False,
  changed_code: bool = False,
) -> bool:
  """Trains in workdir, from wherever it is; returns whether the run is complete.

  Of several processes the first one prepares, writes and speaks; the others wait for
  it and read what it wrote.

  Args:
    config: resolved and checked.
    workdir: the run's folder.
    make_problem: (mesh, log) -> Problem. Called while the folder is held; it may prepare data
      (see distributed.on_first) and raise UserError, and then nothing is left behind.
    log: takes lines of text.
    profile: whether to write a trace of a few steps.
    changed_code: whether a run may go on with other code of the user's own than it began with.
  """
  compilation_cache.use(config.compilation_cache, log)
  workdir = pathlib.Path(workdir)
  mesh = sharding.make_mesh(config.mesh)
  if not distributed.is_first():
    log = lambda line: None
  with distributed.together(), contextlib.ExitStack() as stack:
    # Before anything is written: processes with different programs would wait for each other.
    distributed.check_equal(config_lib.to_json(config), 'config')
    ended = distributed.on_first(lambda: enter(stack, workdir, config, log, changed_code))
    state, why = distributed.from_first([ended.state, ended.why] if ended else ['', ''])
    if state == 'diverged':
      raise loop.Diverged(workdir_lib.diverged_text(workdir, why))
    if state:
      return True
    problem = make_problem(mesh, log)
    distributed.check_equal(problem.fingerprints, 'data')
    # Only now, when all that can be wrong with the input has been looked at.
    distributed.on_first(lambda: furnish(workdir, config, problem, log))
    return loop.run(problem, config, workdir, mesh, log, profile)


def enter(
  stack: contextlib.ExitStack,
  workdir: pathlib.Path,
  config: Any,
  log: Log,
  changed_code: bool = False,
) -> loop.Outcome | None:
  """Holds a run's folder until the stack ends; returns how the run ended, None if it has not.

  Raises:
    UserError: another process is at work in it, or the run in it cannot go on with this config
      or with other code, or a tracker that it names is not installed.
  """
  stack.enter_context(workdir_lib.locked(workdir))
  changes.check(workdir, config)
  if outcome := workdir_lib.diverged(workdir):
    return loop.Outcome('diverged', outcome['reason'])
  outcome = workdir_lib.finished(workdir)
  if outcome is None or changes.goes_on(workdir, config, outcome):
    own_code.check(workdir, config, changed_code)
    logs.check(workdir)  # before anything is written
    trackers.check(config)
    return None
  log(f'{workdir} is finished: {outcome["step"]} steps, {outcome["reason"]}')
  return loop.Outcome('done', outcome['reason'])


def furnish(
  workdir: pathlib.Path, config: Any, problem: problem_lib.Problem, log: Log = print
) -> None:
  """Writes what a run's folder holds before its first step: environment, config, artifacts."""
  # First, since it refuses a run whose data has changed.
  code = own_code.keep(workdir, config)
  workdir_lib.record_environment(workdir, problem.fingerprints, {'code': code} if code else {})
  changes.write(workdir, config, log)
  for name, path in problem.artifacts.items():
    if callable(path):
      path(workdir)
    elif pathlib.Path(path).is_dir():
      shutil.copytree(path, workdir / name, dirs_exist_ok=True)
    else:
      shutil.copy(path, workdir / name)
