"""Prepare text for training: clean, split, tokenize and pack it.

Example:
  mlm-jax prepare --workdir=runs/mine --config.data.source='text:corpus/*.txt.zst'

The result stands in WORKDIR/data, or where config.data.prepared says; a run with the
same settings uses it. An interrupted preparation is redone. A finished one is reused; it
is refused when its settings, the names, sizes or first and last MiB of its files, or its
tokenizer's model are not those asked for.
"""

import pathlib

from mlm_jax.commands import _config


def add_arguments(parser):
  _config.add_arguments(parser)
  parser.add_argument('--workdir', metavar='DIR', required=True, help='the data go to DIR/data')
  parser.add_argument('--verify', action='store_true',
                      help='compare the sha256 of every prepared file')


def run(args):
  from mlm_jax.data import prepare
  from mlm_jax.data import store
  data = _config.read(args).data
  directory = data.prepared or pathlib.Path(args.workdir) / 'data'
  prepare.prepare(data, directory, log=lambda line: print(line, flush=True))
  if args.verify:
    store.open_prepared(directory, verify=True)
    print('data: every file is as it was written', flush=True)
