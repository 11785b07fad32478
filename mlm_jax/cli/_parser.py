"""The argument parser of every command: one line for a mistake, like all wrong input."""

import argparse
from typing import Any
from typing import NoReturn

from mlm_jax.config import one_line


class Parser(argparse.ArgumentParser):
  """Refuses in one line with status 2; argparse would print the usage before it."""

  def __init__(self, **settings: Any):
    # An abbreviation could become ambiguous, or mean another flag, when a flag is added.
    super().__init__(
      allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings
    )

  def error(self, message: str) -> NoReturn:
    self.exit(2, f'{self.prog}: {one_line(message, most=None)}; see --help\n')
