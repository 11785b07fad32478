"""Pretrain an encoder, or go on with a run that was stopped.

Example:
  mlm-jax train --config=configs/novels_small.py --workdir=runs/novels
  mlm-jax train --config=configs/bert_base.py:smoke --config.seed=1 --workdir=runs/smoke

The same command takes up a stopped run at its newest checkpoint; a finished one
says so.
"""

import sys

from mlm_jax.cli import _config


def add_arguments(parser):
  _config.add_arguments(parser)
  parser.add_argument('--workdir', required=True, help='the folder of the run')
  parser.add_argument(
    '--profile', action='store_true', help='write a trace of five steps to WORKDIR/profile'
  )


def run(args):
  config = _config.read(args)
  from mlm_jax.tasks import pretraining
  from mlm_jax.training import distributed

  distributed.start()
  if not pretraining.run(config, args.workdir, profile=args.profile):
    sys.exit(1)
