"""What a tracker is: something beside a run's own files that shows its numbers.

A tracker is a module of this folder, named as `log.trackers` names it, with

  start(run: Run) -> Tracker

which imports what it needs: it is called only where it is named, in a thread of its own, and may
raise anything or never return.
"""

import pathlib
import typing
from typing import Any
from typing import Protocol

DONE, STOPPED, DIVERGED = 0, 1, 3  # how a run ends: the command's exit status


class Run(typing.NamedTuple):
  """The run that is shown.

  Attributes:
    workdir: its folder.
    config: resolved.
    step: that it goes on from; lines of later steps may have been shown before.
    name: of the folder; in a sweep it says the arm and the seed.
    group: the name of the sweep's folder, None for a run on its own.
  """

  workdir: pathlib.Path
  config: Any
  step: int
  name: str
  group: str | None


class Tracker(Protocol):
  """A run as one tracker shows it.

  Attributes:
    says: a line for the person who trains, such as where to look; '' for none.
  """

  says: str

  def write(self, log: str, step: int, scalars: dict[str, float]) -> None:
    """Shows a line of a log.

    Args:
      log: 'metrics', 'evaluations', 'spikes' or 'timing'; the steps of each never fall, those of
        two of them may be written in any order.
      step: 1-based; an evaluation's may be 0.
      scalars: finite numbers.
    """

  def finish(self, status: int) -> None:
    """Ends what is shown; returns when all of it is where it belongs.

    Args:
      status: DONE, DIVERGED or STOPPED, by whatever: the run may go on later.
    """
