"""Score a run on held-out text under the fixed reference masks and its own policy.

Example:
  mlm-jax evaluate --workdir=runs/demo --baselines
  mlm-jax evaluate --workdir=runs/demo --step=500 --data=runs/other/data
  mlm-jax evaluate --workdir=runs/demo --policy=bert_whole_word
  --config.masking.corruption_probs='(1.0,0.0,0.0)'

  mlm-jax evaluate --workdir=runs/demo --suite=minimal_pairs:blimp,choices:dev.jsonl

Prints one line of JSON. The text must have been prepared with the run's own tokenizer. With
--suite zero-shot suites are scored instead: a table is printed, and zero_shot.json written in the
run's folder.
"""

import argparse
import json

from mlm_jax import config
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
  parser.add_argument(
    '--suite',
    metavar='NAME:PATH,...',
    help='zero-shot suites, each with the file or folder of its data: '
    'likelihood, minimal_pairs, choices, cloze_facts, probes',
  )
  parser.add_argument(
    '--every', action='store_true', help='with --suite: score every checkpoint of the run'
  )
  parser.add_argument(
    '--out', metavar='FILE', help="with --suite: the file of the scores, in place of the run's own"
  )
  _config.add_policy(
    parser, 'also score under the masks of another policy, as other_loss and so on'
  )


def run(args: argparse.Namespace) -> None:
  if args.suite is not None:
    _suites(args)
    return
  if args.every or args.out is not None:
    raise config.UserError(f'--{"every" if args.every else "out"} is for --suite: name a suite')
  from mlm_jax.inference import evaluate

  other = _config.policy(args) if args.policy or args.config or args.overrides else None
  scores = evaluate.evaluate(
    args.workdir, args.step, args.data, args.baselines, other, args.allow_code
  )
  print(json.dumps(scores))


def _suites(args: argparse.Namespace) -> None:
  """Scores zero-shot suites."""
  from mlm_jax.inference import zero_shot

  held_out = {'data': args.data, 'baselines': args.baselines, 'policy': args.policy}
  held_out |= {'config': args.config or args.overrides}
  if wrong := [name for name, value in held_out.items() if value]:
    raise config.UserError(f'--{wrong[0]} is for held-out text: leave it out with --suite')
  found = zero_shot.evaluate_checkpoints(args.workdir, args.suite, args.step, args.every, args.out)
  print(zero_shot.table(found))
