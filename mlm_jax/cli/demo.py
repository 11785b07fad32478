"""Train a small encoder on the built-in corpus in about five minutes, and look at it.

Example:
  mlm-jax demo --minutes=5 --workdir=runs/demo
"""

import argparse
import math
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--minutes', type=float, default=5.0, help='of training, about')
  parser.add_argument('--workdir', default='runs/demo', help='the folder of the run')


def run(args: argparse.Namespace) -> None:
  from mlm_jax import config
  from mlm_jax import demo

  if not 0 < args.minutes < math.inf:
    raise config.UserError(f'--minutes={args.minutes}: must be above 0 and finite')
  if not demo.run(args.workdir, args.minutes):
    sys.exit(1)
