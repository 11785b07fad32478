"""Judges: what the arms of a sweep are for, beside the score that is watched while they train.

Each file is a kind of judge: a score on held-out text, a zero-shot suite, a fine-tuning. A judge is
checked before any run is trained, and then judges every finished run in the same way.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import json
import pathlib
import re
import typing
from typing import Any
from typing import Protocol

from mlm_jax import config as config_lib
from mlm_jax.core import files as files_lib

if typing.TYPE_CHECKING:
  from mlm_jax.sweeps import planning

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Ready:
  """A judge that was checked.

  Attributes:
    score: which of the numbers that it finds arms are compared by.
    direction: 'min' where less of it is better, else 'max'.
    asked: what is evaluated, as JSON has it, without places of this machine.
    same_tokens: whether arms can be compared only where their text and tokenizer are the same.
    what: it in words, for the plan.
    tokens: run -> an estimate of the tokens that the model computes to judge it.
    passes: per token: 1 forward, 3 to train.
    judge: (run, its folder, step of its end, log) -> {name: number}, or None where a signal has
      stopped it. Raises UserError for a run that cannot be judged.
  """

  score: str
  direction: str
  asked: dict[str, Any]
  same_tokens: bool
  what: str
  tokens: 'Callable[[planning.Run], float]'
  passes: int
  judge: 'Callable[[planning.Run, pathlib.Path, int, Log], dict[str, float] | None]'

  def described(self, name: str) -> dict[str, Any]:
    """Returns what sweep.json says of it."""
    return {
      'name': name,
      'score': self.score,
      'direction': self.direction,
      'same_tokens': self.same_tokens,
      'asked': self.asked,
    }


class Judge(Protocol):
  """What a Sweep names."""

  def ready(self, name: str, runs: 'Sequence[planning.Run]') -> Ready:
    """Returns it checked against the runs of a sweep, before any of them is trained.

    Raises:
      UserError: data that are missing or none, a score that there is not, a run that it cannot
        judge.
    """
    ...


def ready(judges: Any, runs: 'Sequence[planning.Run]') -> dict[str, Ready]:
  """Returns {name: Ready} of the judges of a Sweep.

  Raises:
    UserError: no such mapping, a name that is none for a folder, or what a judge refuses.
  """
  kinds = 'sweeps.HeldOut(...), sweeps.ZeroShot(...) or sweeps.FineTuned(...)'
  if not isinstance(judges, Mapping):
    raise config_lib.UserError(
      f'judges = {config_lib.one_line(repr(judges), 60)}: must be {{name: judge}} of {kinds}'
    )
  if judges and 'task' in runs[0].config:
    raise config_lib.UserError(
      'judges: they judge pretrained runs; a sweep of fine-tuning has none'
    )
  found = {}
  for name, judge in judges.items():
    if not isinstance(name, str) or not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,39}', name):
      raise config_lib.UserError(
        f'judges: {config_lib.one_line(repr(name), 60)} must be up to 40 letters, digits, _ . and -'
      )
    if name.casefold() in map(str.casefold, found):
      raise config_lib.UserError(f'judges: {name!r} is there twice, except for letter case')
    if not callable(getattr(judge, 'ready', None)) or isinstance(judge, type):
      what = config_lib.one_line(repr(judge), 60)
      raise config_lib.UserError(f'judge {name} = {what}: there is no such judge; take {kinds}')
    try:
      found[name] = judge.ready(name, runs)
    except config_lib.UserError as error:
      raise config_lib.UserError(f'judge {name}: {error}') from None
  return found


def of_arms(runs: 'Sequence[planning.Run]') -> 'list[planning.Run]':
  """Returns a run of each arm: seeds change nothing that a judge checks."""
  return list({run.arm: run for run in reversed(runs)}.values())[::-1]


def digest(path: str) -> str:
  """Returns 16 hexadecimal digits of the contents of a file, or of the files of a folder."""
  place = pathlib.Path(path)
  found = files_lib.hashes(place, '\n') if place.is_dir() else {'': files_lib.sha256(place)}
  return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
