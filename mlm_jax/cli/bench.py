"""Measure the speed of a part.

Example:
  mlm-jax bench masking            # tokens a second, beside transformers where it is installed
  mlm-jax bench data --help        # what is measured, and its flags
  mlm-jax bench step               # a training step, beside transformers and keras-hub
  mlm-jax bench model              # parts of the encoders, beside the plain forms that they replace
  mlm-jax bench step --out=step.json   # also writes the numbers, and where they were measured
  mlm-jax bench finetune           # examples a second, beside transformers' Trainer

`make bench` runs every benchmark in an environment that has the peers.
"""

import argparse
import datetime
import importlib
import json
import os
import pathlib
import pkgutil
from typing import Any

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
  parser.add_argument(
    '--out', metavar='FILE', help='a file that the numbers are written to, as JSON'
  )
  given = parser.parse_args(args.arguments)
  for name, value in vars(given).items():
    for each in value if isinstance(value, list) else [value]:
      _check(name, each, parser.get_default(name))
  if given.out:
    config.check_folder('--out', given.out)
  if given.out and not pathlib.Path(given.out).parent.is_dir():
    raise config.UserError(
      f'--out={given.out}: there is no folder {pathlib.Path(given.out).parent}'
    )
  load = os.getloadavg()[0]  # what else the machine did when the benchmark began
  found = module.run(given)
  if given.out:
    _write(given, args.name, load, found)


def _write(given: argparse.Namespace, name: str, load: float, found: dict[str, Any]) -> None:
  """Writes the numbers of a benchmark, its flags, and where it ran."""
  from mlm_jax.core import files
  from mlm_jax.training import workdir

  record = {
    'benchmark': name,
    'flags': {flag: value for flag, value in vars(given).items() if flag != 'out'},
    'date': datetime.date.today().isoformat(),
    'load': round(load, 1),
    **workdir.environment(),
    'found': found,
  }
  try:
    files.write(given.out, json.dumps(record, indent=1) + '\n')
  except OSError as error:
    raise config.UserError(f'--out={given.out}: {files.fault(error, given.out)}') from None


def _check(name: str, value: object, default: object) -> None:
  """Raises UserError for a number that no benchmark can work with."""
  flag = f'--{name.replace("_", "-")} = {value}'
  # 0 is allowed where it is the default, and means what the help says.
  if isinstance(value, int) and not (1 <= value <= _MOST or value == default):
    raise config.UserError(f'{flag}: must be at least 1 and at most {_MOST:,}')
  if isinstance(value, float) and not 0 <= value < 1:
    raise config.UserError(f'{flag}: must be a share from 0 on and below 1')
