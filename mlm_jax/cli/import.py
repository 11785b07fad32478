"""Make a run of the weights and tokenizer of a Hugging Face folder.

Example:
  mlm-jax import --from=downloads/bert-base-uncased --workdir=runs/bert
  mlm-jax import --from=answerdotai/ModernBERT-base --workdir=runs/modernbert   # needs a network

BERT, RoBERTa, ELECTRA, DeBERTa v1 to v3 and ModernBERT, with or without a masked-language-model
head, from safetensors. The run fills masks, embeds texts, and another run can start from it:

  mlm-jax train --config=runs/bert/config.json --config.init_from=runs/bert \\
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


def run(args: argparse.Namespace) -> None:
  from mlm_jax.huggingface import importing

  importing.run(args.place, args.workdir)
