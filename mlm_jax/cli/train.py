"""Pretrain an encoder, or resume a run that was stopped.

Example:
  mlm-jax train --config=configs/novels_small.py --workdir=runs/novels
  mlm-jax train --config=configs/bert_base.py:smoke --config.seed=1 --workdir=runs/smoke

The same command resumes a stopped run from its newest checkpoint; of a finished run it says that
it is finished.
"""

import argparse
import sys

from mlm_jax.cli import _config


def add_arguments(parser: argparse.ArgumentParser) -> None:
  _config.add_arguments(parser)
  parser.add_argument('--workdir', required=True, help='the folder of the run')
  parser.add_argument(
    '--profile', action='store_true', help='write a trace of five steps to WORKDIR/profile'
  )
  parser.add_argument(
    '--stop-with',
    metavar='PID',
    type=int,
    help='save and end when the process that starts this one, whose id this is, has ended',
  )
  parser.add_argument(
    '--changed-code',
    action='store_true',
    help='resume also where the code of your own that the config names has been changed since',
  )


def run(args: argparse.Namespace) -> None:
  config = _config.read(args)
  # Imports JAX, which takes seconds: only now that the config is known to be right.
  from mlm_jax.tasks import pretraining
  from mlm_jax.training import distributed
  from mlm_jax.training import signals

  if args.stop_with is not None:
    signals.stop_with(args.stop_with)
  distributed.start()  # before anything asks JAX for its devices
  done = pretraining.run(config, args.workdir, profile=args.profile, changed_code=args.changed_code)
  if not done:
    sys.exit(1)
