"""Prepare text for training: clean, split, tokenize and pack it.

Example:
  mlm-jax prepare --workdir=runs/mine --config.data.source='text:corpus/*.txt.zst'
  mlm-jax prepare --workdir=runs/mine --inspect

The result stands in WORKDIR/data, or where config.data.prepared says; a run with the
same settings uses it. An interrupted preparation is redone. A finished one is reused; it
is refused when its settings, the names, sizes or first and last MiB of its files, or its
tokenizer's model are not those asked for.

With --inspect it prints what was prepared: sizes, drops by rule, how long documents and
how full rows are, the most common and the unknown pieces, collocations and classes of words
where there are some, and some rows as text. Without a config it shows what stands in
WORKDIR/data, for stages also in WORKDIR/data_LENGTH, or in WORKDIR where that is the folder of
prepared data itself.
"""

import pathlib

from mlm_jax import config
from mlm_jax.cli import _config


def add_arguments(parser):
  _config.add_arguments(parser)
  parser.add_argument('--workdir', metavar='DIR', required=True, help='the data go to DIR/data')
  parser.add_argument(
    '--verify', action='store_true', help='compare the sha256 of every prepared file'
  )
  parser.add_argument('--inspect', action='store_true', help='show what was prepared')


def run(args):
  from mlm_jax.data import inspect
  from mlm_jax.data import store

  for directory in _finished(args) or _prepare(args):
    if args.verify:
      store.open_prepared(directory, verify=True)
      print(f'data: every file in {directory} is as it was written', flush=True)
    if args.inspect:
      for line in inspect.lines(store.open_prepared(directory)):
        print(line, flush=True)


def _finished(args):
  """Returns the folders of prepared data that are to be inspected without a config, or None.

  Raises:
    UserError: nothing is prepared there.
  """
  from mlm_jax.data import store

  if not args.inspect or args.config or args.overrides:
    return None
  workdir = pathlib.Path(args.workdir)
  found = [place for place in (workdir, *sorted(workdir.glob('data*'))) if store.finished(place)]
  if not found:
    raise config.UserError(
      f'nothing is prepared in {args.workdir}: give --config or --config.KEY=VALUE to prepare it'
    )
  return found


def _prepare(args):
  """Prepares what the config asks for, each stage's rows; returns the folders."""
  from mlm_jax.tasks import pretraining

  prepared = pretraining.prepare_data(
    _config.read(args), args.workdir, log=lambda line: print(line, flush=True)
  )
  return dict.fromkeys(each.directory for each in prepared)
