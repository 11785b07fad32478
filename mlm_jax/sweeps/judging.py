"""Judges the finished runs of a sweep, by the judges that it names.

In this process, once no run is training any more, one judge after another. What was found is in the
folder of its run (see evaluation/judgements.py) and is not found again, so a sweep may be killed
here too: also a fine-tuning resumes.
"""

from collections.abc import Callable
import os
import typing
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.evaluation import judgements
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import planning
from mlm_jax.training import workdir as workdir_lib


class Judgement(typing.NamedTuple):
  """A judge's name, a finished run, its last step, and whether it is made."""

  judge: str
  run: planning.Run
  step: int
  is_made: bool


def of(plan: planning.Plan, workdir: str | os.PathLike[str]) -> list[Judgement]:
  """Returns the judgements of the finished runs of a plan, made or not.

  Raises:
    UserError: those of a run are damaged.
  """
  finished = []
  for run in plan.runs if plan.judges else ():
    folder = layout.run_folder(workdir, run)
    outcome = workdir_lib.finished(folder)
    if outcome is not None:
      finished.append((run, outcome['step'], judgements.read(folder, outcome['step'])))
  return [
    Judgement(name, run, step, judgements.find(entries, judge.asked) is not None)
    for name, judge in plan.judges.items()
    for run, step, entries in finished
  ]


def judge(
  plan: planning.Plan,
  workdir: str | os.PathLike[str],
  log: Callable[[str], None] = print,
  stopped: Callable[[str], Any] | None = None,
) -> bool:
  """Makes the judgements that are left; returns whether each could be made.

  A run that cannot be judged is named, and the others are judged.

  Args:
    plan: planning.Plan.
    workdir: of the sweep.
    log: takes lines of text.
    stopped: is called where a signal has ended it.

  Raises:
    UserError: the judgements of a run are damaged.
  """
  todo, done = [each for each in of(plan, workdir) if not each.is_made], True
  for number, each in enumerate(todo, 1):
    name, folder = each.run.name, layout.run_folder(workdir, each.run)
    ready = plan.judges[each.judge]
    # Another judge may have asked the same of it since.
    if judgements.find(judgements.read(folder, each.step), ready.asked) is not None:
      continue
    log(f'judgement {number} of {len(todo)}: {name} by {each.judge}')
    try:
      scores = ready.judge(each.run, folder, each.step, log)
    except config_lib.UserError as error:
      log(f'{name} cannot be judged by {each.judge}: {error}')
      done = False
      continue
    if scores is None:
      log('stopped by a signal, the same command goes on')
      if stopped:
        stopped('a signal')
      return False
    judgements.add(folder, each.step, ready.asked, scores)
  return done
