"""Scores the finished runs of a sweep under the policies of all its arms.

In this process, once no run is training any more: so the accelerators are free, and runs of one
model share their compiled programs. What has been scored is in the folder of its run (see
evaluation/cross_scores.py) and is not scored again, so a sweep may be killed here too.
"""

from collections.abc import Callable
import os
import pathlib
import typing
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.evaluation import cross_scores
from mlm_jax.inference import evaluate
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import planning
from mlm_jax.sweeps import policies as policies_lib
from mlm_jax.training import workdir as workdir_lib


class Finished(typing.NamedTuple):
  """A finished run, its last step, and the policies that it has not been scored under yet."""

  run: planning.Run
  step: int
  left: dict[str, dict[str, Any]]


def finished(plan: planning.Plan, workdir: str | os.PathLike[str]) -> list[Finished]:
  """Returns the finished runs of a plan; [] where its arms hide the same, so none is scored.

  Raises:
    UserError: the scores of a run are damaged.
  """
  found = []
  wanted = cross_scores.beside_reference(policies_lib.differing(plan.runs))
  for run in plan.runs if wanted else ():
    folder = layout.run_folder(workdir, run)
    outcome = workdir_lib.finished(folder)
    if outcome is not None:
      entries = cross_scores.read(folder, outcome['step'])
      left = {
        name: settings
        for name, settings in wanted.items()
        if cross_scores.find(entries, settings) is None
      }
      found.append(Finished(run, outcome['step'], left))
  return found


def score(
  plan: planning.Plan, workdir: str | os.PathLike[str], log: Callable[[str], None] = print
) -> bool:
  """Scores what is left of the finished runs; returns whether each could be opened for that.

  One that cannot be is named, and the others are scored.
  """
  todo, done = [each for each in finished(plan, workdir) if each.left], True
  for number, each in enumerate(todo, 1):
    name = each.run.name
    log(f'scores run {number} of {len(todo)} under {len(each.left)} more of the policies: {name}')
    try:
      _score(layout.run_folder(workdir, each.run), each, log)
    except config_lib.UserError as error:
      log(f'{name} cannot be scored: {error}')
      done = False
  return done


def _score(folder: pathlib.Path, each: Finished, log: Callable[[str], None]) -> None:
  """Scores one run and writes what came out, one policy after another."""
  # The configs are the sweep's own, whose sweep.py named this code.
  own_code = config_lib.own_code(each.run.config).values()
  opened = evaluate.open_checkpoint(folder, each.step, allow_code=own_code)
  for name, settings in each.left.items():
    try:
      # Policies with a schedule are as at the end of the training, for every run alike.
      values = opened.under(settings, progress=1.0)
    except config_lib.UserError as error:  # the data of this arm lack what the policy asks for
      log(f'{folder.name} is not scored under {name}: {error}')
      continue
    cross_scores.add(folder, each.step, settings, values)
