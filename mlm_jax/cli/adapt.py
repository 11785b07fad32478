"""Adapt a run to a domain: train it further on its text, and end when that should end.

Example:
  mlm-jax adapt --from=runs/mine --config.data.source='text:DOMAIN/*.txt' --workdir=runs/domain

It is `mlm-jax train --config=adaptation --config.init_from=RUN`. Held-out loss is followed on the
domain and on general text: that of --config.adapt.general=SOURCE, or the rows that the run in
--from keeps in its folder. It ends when the domain has stopped improving, or when general text has
lost more than config.adapt.allowance; the model is the best checkpoint within the allowance. The
same command resumes a stopped run.
"""

import argparse
import sys

from mlm_jax import config as config_lib
from mlm_jax.cli import _config

_RECIPE = 'adaptation'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  _config.add_arguments(parser)
  parser.add_argument('--from', dest='start', metavar='RUN', help='the folder of the run to adapt')
  parser.add_argument('--workdir', required=True, help='the folder of the adapted run')


def run(args: argparse.Namespace) -> None:
  args.config = args.config or _RECIPE
  if args.start is not None:
    # Before the others, which may say more.
    args.overrides = [('init_from', args.start), *args.overrides]
  config = _config.read(args)
  if 'adapt' not in config:
    raise config_lib.UserError(
      f'--config={args.config} is not of adaptation: take the recipe {_RECIPE}, or one of your own '
      'that starts from config.adaptation()'
    )
  # Imports JAX, which takes seconds: only now that the config is known to be right.
  from mlm_jax.tasks import adaptation
  from mlm_jax.training import distributed

  distributed.start()
  if not adaptation.run(config, args.workdir):
    sys.exit(1)
