"""Make a run of the weights and tokenizer of a Hugging Face folder.

Example:
  mlm-jax import --from=downloads/bert-base-uncased --workdir=runs/bert
  mlm-jax import --from=answerdotai/ModernBERT-base --workdir=runs/modernbert   # needs a network

AutoModelForSequenceClassification, ...ForTokenClassification and ...ForQuestionAnswering become
fine-tuned runs, with which mlm-jax predict gives labels, numbers and answers; --part=encoder leaves
their head out.

BERT, RoBERTa (also as XLM-R and CamemBERT), DistilBERT, ELECTRA, DeBERTa v1 to v3 and ModernBERT,
with or without a masked-language-model head, from safetensors. The run fills masks, embeds texts,
and another run can start from it:

  mlm-jax train --config=continued_pretraining --config.init_from=runs/bert \\
    --config.data.source=text:mine.txt --workdir=runs/more
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--from',
    dest='place',
    required=True,
    metavar='DIR',
    help="a folder, one of the hub's cache, or a name on the hub",
  )
  parser.add_argument('--workdir', required=True, help='the folder of the new run')
  parser.add_argument(
    '--part',
    choices=('encoder',),
    default='',
    help='the encoder alone, of a folder that was fine-tuned for a task',
  )
  parser.add_argument(
    '--pairs',
    action='store_true',
    help='a classifier or a regression is of pairs of texts, not of single ones',
  )
  parser.add_argument(
    '--unanswerable',
    action='store_true',
    help='a model that answers questions was trained on some without an answer, as of SQuAD 2.0',
  )


def run(args: argparse.Namespace) -> None:
  from mlm_jax.huggingface import importing

  importing.run(
    args.place,
    args.workdir,
    part=args.part,
    pairs=args.pairs,
    unanswerable=args.unanswerable,
  )
