"""Embed with a run: a vector for each text of a file, in its order.

Example:
  mlm-jax embed --workdir=runs/mine --input=texts.txt --output=vectors.npy

The run may be pretrained, fine-tuned or imported. The input is .txt, with a text a line, or .csv,
.tsv, .jsonl or .parquet with a column of texts. The output is .npy, float32 [texts, width], or
.parquet with a column "embedding"; it is written as the input is read, in parts, and appears under
its name when it is whole.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--workdir', required=True, help='the folder of a run')
  parser.add_argument('--input', metavar='FILE', required=True, help='the texts')
  parser.add_argument('--output', metavar='FILE', required=True, help='what is written')
  parser.add_argument('--text', metavar='COLUMN', help='column of the text')
  parser.add_argument(
    '--pooling',
    help='what a vector is made of: mean, cls, max, ...; what the model came with if not given',
  )
  parser.add_argument('--prompt', metavar='NAME', help="which of an imported model's prompts")
  parser.add_argument(
    '--too-long', default='truncate', help='longer texts: truncate (default), window or error'
  )
  parser.add_argument('--step', type=int, help="a checkpoint; the run's model if not given")


def run(args: argparse.Namespace) -> None:
  from mlm_jax.inference import embed_file

  number, width = embed_file.run(
    args.workdir,
    args.input,
    args.output,
    args.text,
    args.step,
    pooling=args.pooling,
    prompt=args.prompt,
    too_long=args.too_long,
  )
  print(f'{number:,} vectors of {width} numbers in {args.output}')
