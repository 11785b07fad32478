"""Write a run as a Hugging Face folder: weights, tokenizer and a model card.

Example:
  mlm-jax export --workdir=runs/mine --to=exported/mine
  mlm-jax export --workdir=runs/mine --to=exported/sentences --sentence-transformers
  mlm-jax export --workdir=runs/electra --to=exported/electra --part=discriminator

AutoModelForMaskedLM loads the first one, or the class of the task that the run was fine-tuned for:
AutoModelForSequenceClassification, ...ForTokenClassification or ...ForQuestionAnswering. AutoModel
has no place for a head: --part=encoder leaves it out. An imported run that was not trained further
is written as it was read; one that was imported from sentence-transformers is always written for
that too.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--workdir', required=True, help='the folder of the run')
  parser.add_argument('--to', dest='folder', required=True, metavar='DIR', help='a new folder')
  parser.add_argument('--step', type=int, help='a checkpoint; the newest intact one if not given')
  parser.add_argument(
    '--part',
    choices=('encoder', 'generator', 'discriminator'),
    default='',
    help='the encoder without a head, or a part of a run with a generator',
  )
  parser.add_argument(
    '--sentence-transformers',
    action='store_true',
    dest='sentences',
    help='also write a model of sentence-transformers, which embeds as the run itself does',
  )
  parser.add_argument(
    '--license',
    default='',
    dest='licence',
    help='of the weights, for the model card, such as apache-2.0; if not given, that of the '
    'card of an imported model, or none',
  )


def run(args: argparse.Namespace) -> None:
  from mlm_jax.huggingface import exporting

  exporting.run(
    args.workdir, args.folder, args.step, args.part, args.sentences, licence=args.licence
  )
