"""What the vectors of a run say of the labels of transfer's tasks, beside those that say nothing.

  python experiments/transfer/vectors.py --run=runs/novels --tasks=runs/tasks \
    --out=experiments/transfer

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


def vectors(run: predictor.Run, texts: Sequence[str]) -> dict[str, np.ndarray]:
  """Returns {kind of vectors: float [texts, numbers]}."""
  table_VD = np.asarray(run.params['embeddings']['token']['embedding'], np.float32)
  counts_NV = np.zeros((len(texts), len(table_VD)), np.float32)
  for n, text in enumerate(texts):
    np.add.at(counts_NV[n], run.tokenizer.encode(text), 1)
  share_NV = counts_NV / counts_NV.sum(1, keepdims=True)
  random_VD = np.random.default_rng(0).normal(size=table_VD.shape).astype(np.float32)
  return {
    'counts of pieces': np.log1p(counts_NV),
    'random vectors of pieces, mean': share_NV @ random_VD,
    "the model's vectors of pieces, mean": share_NV @ table_VD,
    "the encoder's output, mean": run.embed(texts, pooling='mean'),
  }


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--run', required=True)
  parser.add_argument('--tasks', type=pathlib.Path, required=True, help='what data.py wrote')
  parser.add_argument('--out', type=pathlib.Path, required=True)
  args = parser.parse_args(arguments)
  run, rows = mlm_jax.open_run(args.run), []
  for task in TASKS:
    parts = [
      [json.loads(line) for line in (args.tasks / f'{task}_{part}.jsonl').read_text().splitlines()]
      for part in ('train', 'test')
    ]
    labels = [[row['label'] for row in part] for part in parts]
    train, test = (vectors(run, [row['text'] for row in part]) for part in parts)
    for kind in train:
      score = accuracy(train[kind], test[kind], labels)
      rows.append({'task': task, 'vectors': kind, 'accuracy': f'{score:.4f}'})
      print(*rows[-1].values(), flush=True)
  with (args.out / 'vectors.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main()
