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
from mlm_jax.cli import _parser

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
  module.run(parser.parse_args(args.arguments))
