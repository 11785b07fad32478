"""mlm-jax COMMAND: finds the command in mlm_jax/commands and runs it."""

import argparse
import importlib
import pkgutil
import sys

from mlm_jax import commands
from mlm_jax import config


def main(argv=None):
  """Exit status: 0 done, 2 wrong input (one line on stderr), 1 anything else."""
  argv = sys.argv[1:] if argv is None else argv
  modules = {each.name: importlib.import_module(f'mlm_jax.commands.{each.name}')
             for each in pkgutil.iter_modules(commands.__path__) if not each.name.startswith('_')}
  parser = argparse.ArgumentParser(prog='mlm-jax', allow_abbrev=False,
                                   description='Masked language modelling in JAX.')
  subparsers = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
  for name, module in modules.items():
    summary, _, rest = module.__doc__.partition('\n')
    subparser = subparsers.add_parser(
        name, help=summary, description=summary, epilog=rest, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(subparser)
  known, unknown = parser.parse_known_args(argv)
  try:
    known.overrides = _overrides(unknown, takes_config='config' in known)
    modules[known.command].run(known)
  except config.UserError as error:
    print(f'mlm-jax {known.command}: {error}', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    sys.exit(130)


def _overrides(arguments, takes_config):
  """Returns [(key, text)] of --config.KEY=VALUE; anything else is a mistake."""
  pairs = []
  for each in arguments:
    key, equals, text = each.partition('=')
    if not (takes_config and key.startswith('--config.') and equals):
      raise config.UserError(f'unknown argument {each}' + (
          ' (settings are given as --config.KEY=VALUE)' if takes_config else '; see --help'))
    pairs.append((key.removeprefix('--config.'), text))
  return pairs


if __name__ == '__main__':
  main()
