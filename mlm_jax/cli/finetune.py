"""Fine-tune a run: to classify or compare texts, to label words, to answer questions, to search.

Example:
  mlm-jax finetune --config=finetune/classification --from=runs/novels --workdir=runs/sst2 \\
    --config.task.train=sst2/train.tsv --config.task.test=sst2/dev.tsv --config.task.text=sentence

The encoder is that of the run in --from, trained here, imported or fine-tuned; the head is new.
--from=scratch:RUN takes the tokenizer and the size of the model from RUN and draws every parameter
anew: the baseline of what pretraining is worth. A share of the training examples, or the file
config.task.validation, chooses the checkpoint; those of config.task.test are scored once, at the
end: see test.json and predictions.jsonl in the run's folder. The same command resumes a run.

With --seeds=N the config is trained with N seeds, from its own on, one run after another in
WORKDIR/runs/seed=K, and the mean and the interval of each score are printed; WORKDIR/results.csv
has the scores of each run. The same command resumes them.
"""

import argparse
import sys

from mlm_jax import config as config_lib
from mlm_jax.cli import _config

_SCRATCH = 'scratch'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  _config.add_arguments(parser)
  parser.add_argument(
    '--from',
    dest='start',
    metavar='RUN',
    help='the folder of the run whose encoder is taken, or scratch:RUN for its size alone',
  )
  parser.add_argument('--workdir', required=True, help='the folder of the fine-tuned run')

  parser.add_argument(
    '--seeds', metavar='N', type=int, help='how many seeds to train, one run after another'
  )


def run(args: argparse.Namespace) -> None:
  if args.seeds is not None and args.seeds < 1:
    raise config_lib.UserError(f'--seeds={args.seeds}: must be at least 1')
  if args.start is not None:
    kind, _, place = args.start.rpartition(':') if args.start.startswith(_SCRATCH) else ('', '', '')
    if args.start == _SCRATCH:
      raise config_lib.UserError(
        '--from=scratch: name the run whose tokenizer and size of the model are taken, as '
        '--from=scratch:RUN'
      )
    settings = [('init_from', place or args.start)]
    settings += [('task.from_scratch', 'true')] if kind else []
    # Before the others, which may say more.
    args.overrides = [*settings, *args.overrides]
  config = _config.read(args) if args.config else _default(args)
  if 'task' not in config:
    raise config_lib.UserError(
      f'--config={args.config} is of pretraining; take one of fine-tuning, such as '
      'finetune/classification'
    )
  if args.seeds is not None:
    _seeds(args, config)
    return
  # Imports JAX, which takes seconds: only now that the config is known to be right.
  from mlm_jax.tasks import finetuning
  from mlm_jax.training import distributed

  distributed.start()
  if not finetuning.run(config, args.workdir):
    sys.exit(1)


def _seeds(args: argparse.Namespace, config: config_lib.Config) -> None:
  from mlm_jax.sweeps import seed_runs

  log = lambda line: print(line, flush=True)
  if not seed_runs.run(config, args.seeds, args.workdir, log):
    sys.exit(1)


def _default(args: argparse.Namespace) -> config_lib.Config:
  return config_lib.override(config_lib.finetuning(), args.overrides)
