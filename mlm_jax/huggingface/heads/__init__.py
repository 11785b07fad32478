"""Heads of tasks: each file in this folder is of a class there, and named after our kind of task.

A new class is a new file with the names that `Head` lists; nothing else has to be edited. A kind in
mlm_jax/downstream without a file here has no class there.
"""

from collections.abc import Mapping
import importlib
import pkgutil
from typing import Any
from typing import Protocol
from typing import cast

from mlm_jax import config as config_lib
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.names import Rule
from mlm_jax.huggingface.tuned import Tuned

NAMES = tuple(sorted(each.name for each in pkgutil.iter_modules(__path__)))


class Head(Protocol):
  """What the file of a class holds.

  A file may hold one more function, see `params`.

  Attributes:
    CLASS: the end of its name, which kinds of tasks may share.
  """

  CLASS: str

  def rules(self, of: Kind) -> list[Rule]:
    """Returns the Rules of the head's parameters."""
    ...

  def to_theirs(self, config: Any, facts: Mapping[str, Any], of: Kind) -> dict[str, Any]:
    """Returns what config.json says of the head of a run: {their setting: value}.

    Args:
      config: of the run.
      facts: of the run, see the kind of task in mlm_jax/downstream.
      of: the Kind.

    Raises:
      UserError: a head that the class there has not.
    """
    ...

  def to_ours(self, theirs: Mapping[str, Any], of: Kind) -> Tuned | None:
    """Returns what a config.json that names the class says; None where it is of another kind.

    Raises:
      UserError: labels or a head that cannot be.
    """
    ...


def load(name: str) -> Head:
  """Returns the file of a kind of task; UserError where there is no class for it."""
  if name not in NAMES:
    raise config_lib.UserError(
      f'a run that was fine-tuned for {name} has no class there; say --part=encoder'
    )
  return cast(Head, importlib.import_module(f'{__name__}.{name}'))


def params(name: str, ours: dict[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the parameters of a run as the class there has them.

  They are what `params(ours, facts)` of the file says, where the class has no place for the facts
  by which what is predicted follows from what is learned.
  """
  says = getattr(load(name), 'params', None)
  return ours if says is None else says(ours, facts)


def to_ours(theirs: Mapping[str, Any], of: Kind) -> Tuned | None:
  """Returns the Tuned of a config.json, None where it is of no task that is known here.

  Raises:
    UserError: labels or a head that cannot be.
  """
  match theirs.get('architectures'):
    case [str() as name, *_]:
      for head in map(load, NAMES):
        if name.endswith(head.CLASS) and (found := head.to_ours(theirs, of)):
          return found
  return None
