"""What the vectors of runs say of the labels of transfer's tasks, beside those that say nothing.

  python experiments/transfer/vectors.py --runs=runs/novels,runs/novels_801010 \
    --tasks=runs/tasks --out=experiments/transfer

A logistic regression learns the labels of a task from one vector a text: the counts of its pieces,
the mean of random vectors of its pieces (as wide as the model: what a table does that has learned
nothing), the mean of the model's own table of pieces, and the mean of what the encoder makes of
them. Its penalty is chosen by cross-validation; the test examples are scored once.
"""

import argparse
from collections.abc import Sequence
import csv
import json
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlm_jax
from mlm_jax.inference import predictor

TASKS = 'sst2', 'ag_news', 'banking77'
PENALTIES = np.logspace(-3, 2, 6)


def accuracy(train_ND: np.ndarray, test_ND: np.ndarray, labels: Sequence[list[str]]) -> float:
  """Returns the share of test examples whose label is found; labels are of (train, test)."""
  folds = StratifiedKFold(5, shuffle=True, random_state=0)
  model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
  found = GridSearchCV(model, {'logisticregression__C': PENALTIES}, cv=folds)
  found.fit(train_ND, labels[0])
  return float(np.mean(found.predict(test_ND) == np.array(labels[1])))


def pieces(run: predictor.Run, texts: Sequence[str]) -> np.ndarray:
  """Returns float32 [texts, V]: how often each piece is in a text."""
  counts_NV = np.zeros((len(texts), run.tokenizer.size), np.float32)
  for n, text in enumerate(texts):
    np.add.at(counts_NV[n], run.tokenizer.encode(text), 1)
  return counts_NV


def shared_vectors(run: predictor.Run, texts: Sequence[str]) -> dict[str, np.ndarray]:
  """Returns {kind of vectors: float [texts, numbers]} of what needs a tokenizer alone."""
  counts_NV = pieces(run, texts)
  size = run.tokenizer.size, run.config.model.width
  random_VD = np.random.default_rng(0).normal(size=size).astype(np.float32)
  return {
    'counts of pieces': np.log1p(counts_NV),
    'random vectors of pieces, mean': mean(counts_NV, random_VD),
  }


def own_vectors(run: predictor.Run, texts: Sequence[str]) -> dict[str, np.ndarray]:
  """Returns {kind of vectors: float [texts, D]} of what a run has learned."""
  table_VD = np.asarray(run.params['embeddings']['token']['embedding'], np.float32)
  return {
    'table of pieces, mean': mean(pieces(run, texts), table_VD[: run.tokenizer.size]),
    "encoder's output, mean": run.embed(texts, pooling='mean'),
  }


def mean(counts_NV: np.ndarray, table_VD: np.ndarray) -> np.ndarray:
  """Returns [texts, D]: the mean over a text's pieces."""
  return counts_NV @ table_VD / counts_NV.sum(1, keepdims=True)


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--runs', required=True, help='with one tokenizer, parted by commas')
  parser.add_argument('--tasks', type=pathlib.Path, required=True, help='what data.py wrote')
  parser.add_argument('--out', type=pathlib.Path, required=True)
  args = parser.parse_args(arguments)
  runs = {name: mlm_jax.open_run(name) for name in args.runs.split(',')}
  first, rows = next(iter(runs.values())), []
  for task in TASKS:
    parts = [
      [json.loads(line) for line in (args.tasks / f'{task}_{part}.jsonl').read_text().splitlines()]
      for part in ('train', 'test')
    ]
    labels = [[row['label'] for row in part] for part in parts]
    texts = [[row['text'] for row in part] for part in parts]
    asked = [('', shared_vectors, first)]
    asked += [(pathlib.Path(name).name, own_vectors, run) for name, run in runs.items()]
    for name, vectors, run in asked:
      train, test = (vectors(run, part) for part in texts)
      for kind in train:
        score = accuracy(train[kind], test[kind], labels)
        rows.append({'task': task, 'run': name, 'vectors': kind, 'accuracy': f'{score:.4f}'})
        print(*rows[-1].values(), flush=True)
  with (args.out / 'vectors.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main()
