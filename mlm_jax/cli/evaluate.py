"""Score a run on held-out text under the fixed reference masks and its own policy.

Example:
  mlm-jax evaluate --workdir=runs/demo --baselines
  mlm-jax evaluate --workdir=runs/demo --step=500 --data=runs/other/data
  mlm-jax evaluate --workdir=runs/demo --policy=bert_whole_word
  --config.masking.corruption_probs='(1.0,0.0,0.0)'

Prints one line of JSON. The text must have been prepared with the run's own tokenizer.
"""

import argparse
import json

from mlm_jax.cli import _config


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--workdir', required=True, help='the folder of the run')
  parser.add_argument('--step', type=int, help='a checkpoint; the newest intact one if not given')
  parser.add_argument(
    '--baselines',
    action='store_true',
    help='also score a unigram and a bigram baseline on the same masked tokens, and on a '
    'synthetic language the Bayes-optimal model',
  )
  parser.add_argument('--data', help="a folder of prepared data; the run's own if not given")
  _config.add_policy(
    parser, 'also score under the masks of another policy, as other_loss and so on'
  )


def run(args: argparse.Namespace) -> None:
  from mlm_jax.inference import evaluate

  other = _config.policy(args) if args.policy or args.config or args.overrides else None
  scores = evaluate.evaluate(
    args.workdir, args.step, args.data, args.baselines, other, args.allow_code
  )
  print(json.dumps(scores))
