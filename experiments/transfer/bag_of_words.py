"""Scores bags of words on the tasks of transfer that are tables: what no encoder is needed for.

  python experiments/transfer/bag_of_words.py --tasks=runs/tasks --out=experiments/transfer

Words and pairs of words, weighted by tf-idf, in a logistic regression whose penalty is chosen by
cross-validation on the training examples; of pairs of texts the words of each, those of both, and
the cosine. For similarity the cosine alone is the prediction. The test examples are scored once.
"""

import argparse
from collections.abc import Sequence
import csv
import json
import pathlib
from typing import Any

import numpy as np
import scipy.sparse
import scipy.stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.model_selection import StratifiedKFold

CLASSIFICATION = 'sst2', 'ag_news', 'banking77', 'rte'
PENALTIES = np.logspace(-2, 4, 7)


def read(path: pathlib.Path) -> list[dict[str, str]]:
  return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def features(train: Sequence[dict], test: Sequence[dict]) -> list[Any]:
  """Returns sparse [examples, features] of training and of test; the words are of training."""
  columns = [name for name in ('text', 'second_text') if name in train[0]]
  words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
  words.fit([row[name] for row in train for name in columns])
  found = []
  for rows in (train, test):
    each: list[Any] = [words.transform([row[name] for row in rows]) for name in columns]
    if len(each) == 2:
      both = each[0].multiply(each[1])
      each += [both, scipy.sparse.csr_matrix(both.sum(1))]
    found.append(scipy.sparse.hstack(each, 'csr'))
  return found


def accuracy(train: Sequence[dict], test: Sequence[dict]) -> float:
  known, asked = features(train, test)
  folds = StratifiedKFold(5, shuffle=True, random_state=0)
  model = GridSearchCV(LogisticRegression(max_iter=2000), {'C': PENALTIES}, cv=folds)
  model.fit(known, [row['label'] for row in train])
  return float(np.mean(model.predict(asked) == np.array([row['label'] for row in test])))


def spearman(train: Sequence[dict], test: Sequence[dict]) -> float:
  _, asked = features(train, test)
  cosine = asked[:, -1].toarray().ravel()
  return float(scipy.stats.spearmanr(cosine, [float(row['score']) for row in test]).statistic)


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--tasks', type=pathlib.Path, required=True, help='what data.py wrote')
  parser.add_argument('--out', type=pathlib.Path, required=True)
  args = parser.parse_args(arguments)
  rows = []
  for name, metric, score in (
    *((name, 'accuracy', accuracy) for name in CLASSIFICATION),
    ('stsb', 'spearman', spearman),
  ):
    found = score(*(read(args.tasks / f'{name}_{part}.jsonl') for part in ('train', 'test')))
    rows.append({'task': name, 'metric': metric, 'score': f'{found:.4f}'})
    print(*rows[-1].values(), flush=True)
  with (args.out / 'bag_of_words.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main()
