"""Say what a run would be on accelerators that are not here: memory, network, time and cost.

Example:
  mlm-jax plan --config=bert_base --topology=tpu:v5e:4x4
  mlm-jax plan --config=bert_base --topology=gpu:h100:8 --price=2.5 --out=plan.json

The train and evaluation steps of every stage are compiled for these devices, and not executed;
that takes minutes for a large model. Topologies are tpu:v5e:16x16, two such slices
tpu:v5e:16x16:2, eight GPUs gpu:h100:8 and four such nodes gpu:h100:8:4. It needs the extra `tpu`
or `cuda`, no data and no accelerator. See docs/plan.md.
"""

import argparse
import json
import math
import os
import pathlib
import sys

from mlm_jax import config as config_lib
from mlm_jax.cli import _config


def add_arguments(parser: argparse.ArgumentParser) -> None:
  _config.add_arguments(parser)
  parser.add_argument(
    '--topology', metavar='NAME', required=True, help='the devices, such as tpu:v5e:4x4'
  )
  parser.add_argument(
    '--documents',
    type=float,
    default=1.0,
    help='of a row, on average, for the useful FLOPs (default 1: a document fills a row)',
  )
  parser.add_argument('--price', type=float, help="of a device's hour, for the cost of the run")
  parser.add_argument('--out', metavar='FILE', help='where the numbers go as JSON')


def run(args: argparse.Namespace) -> None:
  if args.price is not None and not 0 <= args.price < math.inf:
    raise config_lib.UserError(f'--price={args.price}: must be at least 0 and finite')
  if args.out is not None and not pathlib.Path(args.out).parent.is_dir():
    raise config_lib.UserError(
      f'--out={args.out}: there is no folder {pathlib.Path(args.out).parent}'
    )
  config = _config.read(args)
  _config.check_pretraining(args, config, 'mlm-jax plan')
  # Before JAX is imported: nothing is computed here but shapes, and no accelerator is taken.
  os.environ['JAX_PLATFORMS'] = 'cpu'
  from mlm_jax.core import files
  from mlm_jax.planning import plan
  from mlm_jax.planning import text
  from mlm_jax.planning import topologies

  topology = topologies.find(args.topology)
  made = plan.make(
    config, topology, args.documents, lambda line: print(line, file=sys.stderr, flush=True)
  )
  for line in text.lines(made, args.price):
    print(line)
  if args.out is not None:
    try:
      files.write(args.out, json.dumps(text.numbers(made, args.price), indent=1) + '\n')
    except OSError as error:
      raise config_lib.UserError(f'--out={args.out}: {files.fault(error, args.out)}') from None
