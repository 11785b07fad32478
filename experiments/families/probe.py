"""What the runs of this experiment know of parts of speech: a linear probe on the hidden states of
words.

  python experiments/families/probe.py runs/families/runs/*_seed=0 --train=TREEBANK.conllu \
    --test=TREEBANK.conllu --out=experiments/families/probe.csv

Writes a line for each encoder (of a run with a generator two): the
accuracy of a logistic regression on the last layer at each word's first piece, and that on
the same encoder before its training.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import csv
import pathlib
from typing import Any

import jax
import numpy as np
from sklearn import linear_model
from sklearn import pipeline
from sklearn import preprocessing

import mlm_jax
from mlm_jax import objectives
from mlm_jax.core import rng

WORDS = 20_000  # of each treebank


def words_of(path: pathlib.Path) -> Iterator[list[tuple[str, str]]]:
  """Yields the sentences of a treebank as [(word, part of speech), ...]."""
  sentence = []
  for line in [*path.read_text().splitlines(), '']:
    fields = line.split('\t')
    # Not 1-2, which repeats its parts' letters, nor 1.1, which is not text.
    if len(fields) > 3 and fields[0].isdigit():
      sentence.append((fields[1], fields[3]))
    elif not line and sentence:
      yield sentence
      sentence = []


def features(
  model: Any, params: Any, tokenizer: Any, sentences: Sequence[list[tuple[str, str]]], length: int
) -> tuple[np.ndarray, list[str]]:
  """Returns (float32 [n, D], n tags): the last layer at the first piece of each word.

  Words that do not fit a row of `length` tokens are left out.
  """
  apply = jax.jit(lambda *arrays: model.apply(params, *arrays).hidden_BLD)
  found, tags = [], []
  for sentence in sentences:
    ids, places = [tokenizer.cls_id], []
    for word, _ in sentence:
      places.append(len(ids))
      ids += tokenizer.encode(word)
    ids = [*ids[: length - 1], tokenizer.sep_id]
    # Every row of one length, so that the encoder is compiled once.
    row_L = np.array(ids + [tokenizer.pad_id] * (length - len(ids)))
    hidden_LD = np.asarray(
      apply(row_L[None], (row_L != tokenizer.pad_id)[None].astype(int), np.arange(length)[None])
    )[0]
    inside = [place for place in places if place < len(ids) - 1]
    found.append(hidden_LD[inside])
    tags += [tag for _, tag in sentence[: len(inside)]]
    if len(tags) >= WORDS:
      break
  return np.concatenate(found), tags


def accuracy(model: Any, params: Any, run: Any, train: Sequence, test: Sequence) -> float:
  """Returns the share of the test words whose part of speech a linear probe finds."""
  length = run.config.data.row_length
  # Standardised: hidden states differ in scale between families, and the penalty depends on it.
  probe = pipeline.make_pipeline(
    preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=300)
  )
  probe.fit(*features(model, params, run.tokenizer, train, length))
  return probe.score(*features(model, params, run.tokenizer, test, length))


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('runs', type=pathlib.Path, nargs='+', help='their folders')
  parser.add_argument('--train', type=pathlib.Path, required=True)
  parser.add_argument('--test', type=pathlib.Path, required=True)
  parser.add_argument('--out', type=pathlib.Path, required=True, help='the table to write, .csv')
  args = parser.parse_args(arguments)
  rows = []
  train, test = list(words_of(args.train)), list(words_of(args.test))
  for workdir in args.runs:
    run = mlm_jax.open_run(workdir)
    objective = objectives.make(
      run.config, run.tokenizer.size, run.tokenizer.pad_id, run.tokenizer.sep_id, head_rows=1
    )
    # Drawn with the key of the run's own initialisation.
    start = objective.init(rng.named(rng.root_key(run.config.seed), 'init'))
    encoders = {workdir.name: (run.model, run.params, objective.encoder_params(start))}
    if run.mlm is not run.model:
      encoders[f'{workdir.name}, generator'] = run.mlm, run.mlm_params, objective.mlm_params(start)
    for name, (model, trained, untrained) in encoders.items():
      scores = [accuracy(model, params, run, train, test) for params in (trained, untrained)]
      print(f'{name:24s} trained {scores[0]:.3f}   untrained {scores[1]:.3f}', flush=True)
      rows.append([name, *(f'{score:.4f}' for score in scores)])
  with args.out.open('w', newline='') as file:
    csv.writer(file, lineterminator='\n').writerows([['encoder', 'trained', 'untrained'], *rows])


if __name__ == '__main__':
  main()
