"""Fill the [MASK]s of a text with a trained model.

Example:
  mlm-jax fill --workdir=runs/demo 'Return a new [MASK] with the given items.'
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--workdir', required=True, help='the folder of the run')
  parser.add_argument('--top-k', type=int, default=5, help='predictions per mask')
  parser.add_argument(
    '--too-long',
    choices=('window', 'truncate', 'error'),
    default='window',
    help='of a text longer than a row: each mask with what is around it (the default), the '
    'beginning alone, or an error',
  )
  parser.add_argument('text', nargs='+', help='with one or more [MASK]')


def run(args: argparse.Namespace) -> None:
  from mlm_jax.inference import predictor

  opened = predictor.open_run(args.workdir)
  for text in args.text:
    print(text)
    print(predictor.format_predictions(opened.fill(text, args.top_k, args.too_long)))
