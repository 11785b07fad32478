"""Predict with a fine-tuned run: a line for each record of a file, in its order.

Example:
  mlm-jax predict --workdir=runs/sst2 --input=new.csv --output=predicted.jsonl

The columns of the texts are those that the run was trained on, or those that --text and
--second-text name. The output is .jsonl, .csv or .parquet, of token labelling also .conll; it is
written as the input is read, in parts, and appears under its name when it is whole.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--workdir', required=True, help='the folder of a fine-tuned run')
  parser.add_argument('--input', metavar='FILE', required=True, help='the records')
  parser.add_argument('--output', metavar='FILE', required=True, help='what is written')
  parser.add_argument('--text', metavar='COLUMN', help='column of the text')
  parser.add_argument('--second-text', metavar='COLUMN', help='column of a second text')
  parser.add_argument('--step', type=int, help='a checkpoint; the best of the run if not given')


def run(args: argparse.Namespace) -> None:
  from mlm_jax.inference import predict_file

  number = predict_file.run(
    args.workdir, args.input, args.output, args.text, args.second_text, args.step
  )
  print(f'{number:,} predictions in {args.output}')
