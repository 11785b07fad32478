"""The argument parser of every command: one line for a mistake, like all wrong input."""

import argparse
import importlib.metadata
import platform
from typing import Any
from typing import NoReturn

from mlm_jax.config import UserError


class Parser(argparse.ArgumentParser):
  """Refuses in one line with status 2; argparse would print the usage before it."""

  def __init__(self, **settings: Any):
    # An abbreviation could become ambiguous, or mean another flag, when a flag is added.
    super().__init__(
      allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings
    )

  def error(self, message: str) -> NoReturn:
    # As such an error has it: one line, shortened where what is quoted in it is long.
    self.exit(2, f'{self.prog}: {UserError(message)}; see --help\n')


class Version(argparse.Action):
  """Prints the versions, without importing what they are of: JAX takes a second."""

  def __init__(self, option_strings: list[str], dest: str):
    super().__init__(option_strings, dest, nargs=0, help='show the versions')

  def __call__(self, parser: argparse.ArgumentParser, *unused: Any) -> None:
    others = [f'{name} {_version(name)}' for name in ('jax', 'jaxlib', 'flax')]
    print(
      f'mlm-jax {_version("mlm_jax")} ({", ".join(others)}, Python {platform.python_version()})'
    )
    parser.exit()


def _version(name: str) -> str:
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:  # a source tree on Python's path
    return 'not installed'
