"""Measure the speed of a part.

Example:
  mlm-jax bench masking            # tokens a second, beside transformers where it is installed
  mlm-jax bench data --help        # what is measured, and its flags
  mlm-jax bench step               # a training step, beside transformers and keras-hub
  mlm-jax bench model              # parts of the encoders, beside the plain forms that they replace

`make bench` runs every benchmark in an environment that has the peers.
"""

import argparse
import importlib
import pkgutil

from mlm_jax import benchmarks
from mlm_jax import config
from mlm_jax.cli import _parser

_MOST = 1 << 30
_HELPERS = ('clock', 'contestants', 'workers')  # modules beside the benchmarks that are none


def add_arguments(parser: argparse.ArgumentParser) -> None:
  names = [
    each.name for each in pkgutil.iter_modules(benchmarks.__path__) if each.name not in _HELPERS
  ]
  parser.add_argument('name', metavar='NAME', choices=names, help=', '.join(names))
  parser.add_argument('arguments', nargs=argparse.REMAINDER, help="the benchmark's own flags")


def run(args: argparse.Namespace) -> None:
  module = importlib.import_module(f'mlm_jax.benchmarks.{args.name}')
  # Each benchmark has flags of its own, so it has a parser of its own too.
  parser = _parser.Parser(prog=f'mlm-jax bench {args.name}', description=module.__doc__)
  module.add_arguments(parser)
  given = parser.parse_args(args.arguments)
  for name, value in vars(given).items():
    for each in value if isinstance(value, list) else [value]:
      _check(name, each, parser.get_default(name))
  module.run(given)


def _check(name: str, value: object, default: object) -> None:
  """Raises UserError for a number that no benchmark can work with."""
  flag = f'--{name.replace("_", "-")} = {value}'
  # 0 is allowed where it is the default, and means what the help says.
  if isinstance(value, int) and not (1 <= value <= _MOST or value == default):
    raise config.UserError(f'{flag}: must be at least 1 and at most {_MOST:,}')
  if isinstance(value, float) and not 0 <= value < 1:
    raise config.UserError(f'{flag}: must be a share from 0 on and below 1')
