"""Show what a masking policy does to a text.

Example:
  mlm-jax mask --policy=spanbert --text='Paris is the capital of France, and its largest city.'
  mlm-jax mask --policy=pmi --workdir=runs/mine --text='...' --config.masking.rate=0.3
  mlm-jax mask --workdir=runs/mine --row=0 --visits=10

Each line is another visit of the text. Without --workdir words are pieces, and longer ones
are cut every four letters. With it the text is cut as in the prepared data there, which has
the counts, collocations and classes that some policies need; of a run it shows the run's own
policy with what it has learned, unless another is given. --row takes a held-out row of the
prepared data in place of a text, each of its documents, or sentences of a pair, on a line of
its own.
"""

import argparse

from mlm_jax import config as config_lib
from mlm_jax.cli import _config

_MOST = 10_000  # visits; each is a line or more to look at


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--text', help='any text')
  parser.add_argument(
    '--row', type=int, metavar='N', help='a held-out row of the prepared data, from 0 on'
  )
  parser.add_argument('--workdir', metavar='DIR', help='of a run, or of prepared data')
  parser.add_argument('--visits', type=int, default=3, help='lines to show (default 3)')
  parser.add_argument('--seed', type=int, default=0, help='of the draws (default 0)')
  parser.add_argument(
    '--progress',
    type=float,
    help="share of the training done (default 0; of a run's own policy, its checkpoint's)",
  )
  _config.add_policy(parser, "the policy to show, instead of a run's own")


def run(args: argparse.Namespace) -> None:
  _check(args)
  from mlm_jax.inference import mask_lines
  from mlm_jax.inference import mask_source

  allowed = [*args.allow_code, *(text for _, text in args.overrides)]
  opened = mask_source.open_run(args.workdir)
  # A named policy replaces the run's own; single settings only change it.
  is_replaced = bool(args.policy or args.config)
  own = {} if opened is None or is_replaced else mask_source.policy_settings(opened)
  settings = _config.policy(args, own)
  if opened is not None and settings['selection'] == own.get('selection'):
    config_lib.check_allowed(opened.config, allowed, args.workdir, ('masking.selection',))
  source = mask_source.make(
    args.workdir,
    opened,
    settings,
    text=args.text,
    row=args.row,
    is_own=opened is not None and not is_replaced and not args.overrides,
    progress=args.progress,
    allow_code=allowed,
  )
  mask_lines.show(source, args.visits, args.seed)


def _check(args: argparse.Namespace) -> None:
  """Raises UserError where the flags do not fit each other."""
  if (args.text is None) == (args.row is None):
    raise config_lib.UserError('give either --text or --row')
  if args.row is not None and args.workdir is None:
    raise config_lib.UserError('--row is one of prepared data: say with --workdir where they are')
  is_fraction, is_seed = 0 <= (args.progress or 0) <= 1, 0 <= args.seed < 2**32
  if not (1 <= args.visits <= _MOST and is_fraction and is_seed):
    raise config_lib.UserError(
      f'--visits must be at least 1 and at most {_MOST:,}, --progress between 0 and 1, '
      '--seed below 2**32'
    )
