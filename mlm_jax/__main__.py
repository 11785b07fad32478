"""mlm-jax COMMAND: finds the command in mlm_jax/commands and runs it."""

import importlib
import io
import os
import pkgutil
import sys

from mlm_jax import cli
from mlm_jax import config
from mlm_jax.cli import _parser


def main(argv=None):
  """Exit status: 0 done, 2 wrong input, 3 a run that diverged (each one line on stderr), 1 anything
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
  subparsers = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
  for name, module in modules.items():
    summary, _, rest = module.__doc__.partition('\n')
    module.add_arguments(
      subparsers.add_parser(name, help=summary, description=summary, epilog=rest)
    )
  known, unknown = parser.parse_known_args(argv)
  try:
    known.overrides = _overrides(unknown, takes_config='config' in known)
    modules[known.command].run(known)
  except config.UserError as error:
    _exit(2, known.command, error)
  except KeyboardInterrupt:
    sys.exit(130)
  except BrokenPipeError:  # whoever read the output has gone, as `head` does
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)
  except _diverged() as error:
    _exit(3, known.command, error)


def _diverged():
  """Returns train.Diverged. Looked up when something is raised: importing JAX takes seconds."""
  from mlm_jax.training import loop

  return loop.Diverged


def _exit(status, command, error):
  print(f'mlm-jax {command}: {" ".join(str(error).split())}', file=sys.stderr)
  sys.exit(status)


def _overrides(arguments, takes_config):
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
