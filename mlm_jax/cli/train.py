"""Pretrain an encoder, or resume a run that was stopped.

Example:
  mlm-jax train --config=novels_small --workdir=runs/novels
  mlm-jax train --config=bert_base:smoke --config.seed=1 --workdir=runs/smoke

The same command resumes a stopped run from its newest checkpoint; so does --workdir alone, with
the config of the run; of a finished one it says that it is finished. Settings given are changes:

  mlm-jax train --workdir=runs/novels --config.total_steps=20_000 --config.log.every=10

What the steps so far depend on cannot change; see docs/training.md. With --dry-run it says what the
run would be (sizes, shapes, FLOPs, memory, time) and leaves nothing behind.
"""

import argparse
import pathlib
import sys

from mlm_jax import config as config_lib
from mlm_jax.cli import _config


def add_arguments(parser: argparse.ArgumentParser) -> None:
  _config.add_arguments(parser)
  parser.add_argument('--workdir', required=True, help='the folder of the run')
  parser.add_argument(
    '--dry-run',
    action='store_true',
    help='say what the run would be and how long it would take; nothing is written',
  )
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
  if args.config is None:
    args.config = pathlib.Path(args.workdir) / 'config.json'
    # A mistyped folder would otherwise begin a run that nobody described.
    if not args.config.is_file():
      raise config_lib.UserError(
        f'--workdir={args.workdir}: no run there to resume; a new one needs --config=RECIPE'
      )
  config = _config.read(args)
  # What imports JAX takes seconds: only now that the config is known to be right.
  if args.dry_run:
    _config.check_pretraining(args, config, 'mlm-jax train --dry-run')
    from mlm_jax.tasks import dry_run

    for line in dry_run.lines(config, args.workdir):
      print(line, flush=True)
    return
  from mlm_jax import tasks
  from mlm_jax.training import distributed
  from mlm_jax.training import signals

  if args.stop_with is not None:
    signals.stop_with(args.stop_with)
  distributed.start()  # before anything asks JAX for its devices
  train = tasks.of(config).run
  done = train(config, args.workdir, profile=args.profile, changed_code=args.changed_code)
  if not done:
    sys.exit(1)
