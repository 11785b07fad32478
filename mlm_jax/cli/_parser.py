"""The argument parser of every command: one line for a mistake, like all wrong input."""

import argparse


class Parser(argparse.ArgumentParser):
  """Refuses in one line with status 2; argparse would print the usage before it."""

  def __init__(self, **settings):
    super().__init__(
      allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings
    )

  def error(self, message):
    self.exit(2, f'{self.prog}: {" ".join(message.split())}; see --help\n')
