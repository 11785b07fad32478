"""Score a run on held-out text under the fixed reference masks and its own policy.

Example:
  mlm-jax evaluate --workdir=runs/demo --guesses
  mlm-jax evaluate --workdir=runs/demo --step=500 --data=runs/other/data

Prints one line of JSON. The text must have been prepared with the run's own tokenizer.
"""

import json


def add_arguments(parser):
  parser.add_argument('--workdir', required=True, help='the folder of the run')
  parser.add_argument('--step', type=int, help='a checkpoint; the newest intact one if not given')
  parser.add_argument('--guesses', action='store_true',
                      help='also score a unigram and a bigram guess of the same masked tokens, and on a '
                           'synthetic language the best there can be')
  parser.add_argument('--data', help="a folder of prepared data; the run's own if not given")


def run(args):
  from mlm_jax import pretrain
  print(json.dumps(pretrain.evaluate(args.workdir, args.step, args.data, args.guesses)))
