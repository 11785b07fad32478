"""Prepare text for training: clean, split, tokenize and pack it.

Example:
  mlm-jax prepare --workdir=runs/mine --config.data.source='text:corpus/*.txt.zst'
  mlm-jax prepare --workdir=runs/mine --inspect

The result is stored in WORKDIR/data, or where config.data.prepared says; a run with the
same settings uses it. An interrupted preparation is redone. A finished one is reused; it
is refused when its settings, the names, sizes or first and last MiB of its files, or its
tokenizer's model differ from those asked for.

With --inspect it prints what was prepared: sizes, drops by rule, how long documents and
how full rows are, the most common and the unknown pieces, collocations and classes of words
where there are some, and some rows as text. Without a config it shows the data in
WORKDIR/data, for stages also in WORKDIR/data_LENGTH, or in WORKDIR where that is the folder of
prepared data itself.
"""

import argparse
import pathlib

from mlm_jax import config
from mlm_jax.cli import _config


def add_arguments(parser: argparse.ArgumentParser) -> None:
  _config.add_arguments(parser)
  parser.add_argument('--workdir', metavar='DIR', required=True, help='the data go to DIR/data')
  parser.add_argument(
    '--verify', action='store_true', help='compare the sha256 of every prepared file'
  )
  parser.add_argument('--inspect', action='store_true', help='show what was prepared')


def run(args: argparse.Namespace) -> None:
  from mlm_jax.data import inspect
  from mlm_jax.data import store

  for directory in _finished(args) or _prepare(args):
    if args.verify:
      store.open_prepared(directory, verify=True)
      print(f'data: every file in {directory} is as it was written', flush=True)
    if args.inspect:
      for line in inspect.lines(store.open_prepared(directory)):
        print(line, flush=True)


def _finished(args: argparse.Namespace) -> list[pathlib.Path] | None:
  """Returns the folders of prepared data to inspect; None where a config says what to prepare.

  Raises:
    UserError: nothing is prepared there.
  """
  from mlm_jax.data import store

  if not (args.inspect or args.verify) or args.config or args.overrides:
    return None
  workdir = pathlib.Path(args.workdir)
  found = [place for place in (workdir, *sorted(workdir.glob('data*'))) if store.finished(place)]
  if not found:
    raise config.UserError(
      f'nothing is prepared in {args.workdir}: give --config or --config.KEY=VALUE to prepare it'
    )
  return found


def _prepare(args: argparse.Namespace) -> list[pathlib.Path]:
  """Prepares the data of each stage of the config; returns the folders."""
  from mlm_jax.tasks import pretraining

  given = _config.read(args)
  _config.check_pretraining(args, given, 'mlm-jax prepare')
  prepared = pretraining.prepare_data(given, args.workdir, log=lambda line: print(line, flush=True))
  # Stages with rows of one length share a folder.
  return list(dict.fromkeys(each.directory for each in prepared))
