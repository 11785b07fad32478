"""mlm-jax COMMAND: finds the command in mlm_jax/cli and runs it."""

import os
import sys

if __name__ == '__main__' and not sys.flags.safe_path:
  # `python -m` puts the working directory first on the path, where a numpy.py that lies in some
  # folder would be executed in place of NumPy. What a user names as module:name is found there
  # nevertheless, see config/custom.py. Nothing but modules that are loaded already comes before.
  here = sys.path.pop(0)
  if os.path.dirname(os.path.dirname(os.path.abspath(__file__))) == here:
    sys.path.append(here)  # a source tree that is not installed: its workers find it there

import argparse
from collections.abc import Sequence
import contextlib
import importlib
import io
import itertools
import pkgutil
from typing import NoReturn

from mlm_jax import cli
from mlm_jax import config
from mlm_jax.cli import _completion
from mlm_jax.cli import _parser


def main(argv: Sequence[str] | None = None) -> None:
  """Runs a command; `argv` are its arguments, those of this process if not given.

  Exit status: 0 done, 2 wrong input, 3 a run that diverged (each one line on stderr), 1 anything
  else.
  """
  if isinstance(sys.stdout, io.TextIOWrapper):
    # A redirected log can be followed; what a terminal cannot write is written as its code.
    sys.stdout.reconfigure(line_buffering=True, errors='backslashreplace')
  argv = sys.argv[1:] if argv is None else argv
  modules = {
    each.name: importlib.import_module(f'mlm_jax.cli.{each.name}')
    for each in pkgutil.iter_modules(cli.__path__)
    if not each.name.startswith('_')
  }
  parser = _parser.Parser(prog='mlm-jax', description='Masked language modelling in JAX.')
  parser.add_argument('--version', action=_parser.Version)
  subparsers = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
  commands = {}
  for name, module in modules.items():
    # A command's docstring is its --help: a summary, then examples and details.
    summary, _, rest = (module.__doc__ or '').partition('\n')
    commands[name] = subparsers.add_parser(name, help=summary, description=summary, epilog=rest)
    module.add_arguments(commands[name])
  _completion.answer(parser, commands)
  # --config.KEY=VALUE are too many to declare, and declaring them would need the config.
  known, unknown = parser.parse_known_args(argv)
  try:
    known.overrides = _overrides(unknown, takes_config='config' in known)
    _check_not_empty(argv)
    _check_paths(known)
    modules[known.command].run(known)
  except config.UserError as error:
    _exit(2, known.command, error)
  except KeyboardInterrupt:
    sys.exit(130)  # 128 + SIGINT, as a shell has it
  except BrokenPipeError:  # the reader of the output has ended, as `head` does
    # Else Python flushes stdout when it exits, and fails again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)
  except _diverged() as error:
    _exit(3, known.command, error)


def _check_not_empty(argv: Sequence[str]) -> None:
  """Raises UserError for a flag with nothing in it: as a path that would be the current folder."""
  for each, following in itertools.zip_longest(argv, argv[1:]):
    flag, equals, text = each.partition('=')
    is_empty = not text if equals else following == ''
    # A setting may be empty, and so may a text.
    if is_empty and flag.startswith('--') and flag != '--text' and not flag.startswith('--config.'):
      raise config.UserError(f'{flag} is empty: give a value, or leave it out')


# The arguments that are paths, by their names in the parsers, and what a user calls them.
_PATHS = {
  'workdir': '--workdir',
  'data': '--data',
  'out': '--out',
  'folder': '--to',
  'place': '--from',
  'experiment': 'EXPERIMENT',
}


def _check_paths(known: argparse.Namespace) -> None:
  """Raises UserError for a path that cannot be one, such as one that is too long."""
  for name, said in _PATHS.items():
    given = getattr(known, name, None)
    for each in given if isinstance(given, list) else [given]:
      if each is not None:
        config.check_folder(said if each is given else name.upper(), each)


def _diverged() -> type[Exception]:
  """Returns loop.Diverged. Looked up when something is raised: importing JAX takes seconds."""
  from mlm_jax.training import loop

  return loop.Diverged


def _exit(status: int, command: str, error: BaseException) -> NoReturn:
  print(f'mlm-jax {command}: {config.one_line(error, most=None)}', file=sys.stderr)
  if isinstance(error, config.Fatal):
    for stream in (sys.stdout, sys.stderr):
      with contextlib.suppress(OSError):
        stream.flush()
    os._exit(status)
  sys.exit(status)


def _overrides(arguments: Sequence[str], takes_config: bool) -> list[tuple[str, str]]:
  """Returns [(key, text)] of --config.KEY=VALUE; anything else is a mistake."""
  pairs = []
  for each in arguments:
    key, equals, text = each.partition('=')
    if not (takes_config and key.startswith('--config.') and equals):
      raise config.UserError(
        f'unknown argument {each}'
        + (' (settings are given as --config.KEY=VALUE)' if takes_config else '; see --help')
      )
    pairs.append((key.removeprefix('--config.'), text))
  return pairs


if __name__ == '__main__':
  main()
