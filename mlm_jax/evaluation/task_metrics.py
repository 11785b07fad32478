"""The metrics of tasks, by scikit-learn and nervaluate: {metric: value}; which way is better."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlm_jax.data.examples import tag_schemes

CLASSIFICATION = {'accuracy': 'max', 'macro_f1': 'max', 'matthews': 'max', 'loss': 'min'}
ENTITIES = {
  'f1': 'max',
  'precision': 'max',
  'recall': 'max',
  'accuracy': 'max',
  'invalid_sequences': 'min',
  'loss': 'min',
}
TAGS = {'accuracy': 'max', 'macro_f1': 'max', 'loss': 'min'}
MULTILABEL = {'exact_match': 'max', 'macro_f1': 'max', 'micro_f1': 'max', 'loss': 'min'}


def classification(predicted_N: np.ndarray, label_N: np.ndarray, labels: int) -> dict[str, float]:
  """Returns accuracy, macro-F1 over all labels, and Matthews' correlation.

  Args:
    predicted_N, label_N: numbers of labels.
    labels: how many there are; one that is in neither array counts with an F1 of 0.
  """
  from sklearn import metrics

  return {
    'accuracy': float(np.mean(predicted_N == label_N)),
    'macro_f1': float(
      metrics.f1_score(
        label_N, predicted_N, labels=np.arange(labels), average='macro', zero_division=0
      )
    ),
    'matthews': float(metrics.matthews_corrcoef(label_N, predicted_N)),
  }


def multilabel(predicted_NC: np.ndarray, has_NC: np.ndarray) -> dict[str, float]:
  """Returns the share of examples with every label right, macro-F1 and micro-F1."""
  from sklearn import metrics

  f1 = lambda average: float(
    metrics.f1_score(has_NC, predicted_NC, average=average, zero_division=0)
  )
  return {
    'exact_match': float(np.mean((predicted_NC == has_NC).all(axis=1))),
    'macro_f1': f1('macro'),
    'micro_f1': f1('micro'),
  }


def confusions(predicted_N: np.ndarray, label_N: np.ndarray, labels: int) -> list[list[int]]:
  """Returns the confusion matrix: rows are the labels, columns what was predicted."""
  from sklearn import metrics

  return metrics.confusion_matrix(label_N, predicted_N, labels=np.arange(labels)).tolist()


def per_class(
  predicted: np.ndarray, label: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, float]]:
  """Returns {label: {'precision', 'recall', 'f1', 'number'}} of those in either array.

  Args:
    predicted, label: numbers of labels [N], or whether an example has each [N, C].
    names: of the labels.
  """
  from sklearn import metrics

  scores: Any = metrics.precision_recall_fscore_support(
    label, predicted, labels=np.arange(len(names)), zero_division=0
  )
  has = lambda x: set(x.tolist() if x.ndim == 1 else np.flatnonzero(x.any(0)).tolist())
  found = has(predicted) | has(label)
  return {
    name: dict(zip(('precision', 'recall', 'f1', 'number'), map(float, values)))
    for n, (name, *values) in enumerate(zip(names, *scores))
    if n in found
  }


def entities(
  predicted: Sequence[Sequence[tag_schemes.Entity]], true: Sequence[Sequence[tag_schemes.Entity]]
) -> dict[str, dict[str, float]]:
  """Returns {type, or '' for all together: {'precision', 'recall', 'f1', 'number'}}.

  An entity is right where its type and both its boundaries are, as conlleval has it. A type that
  is in neither has no entry; what is divided by 0 is 0.

  Args:
    predicted, true: the entities of each sentence.
  """
  import nervaluate

  listed: Any = lambda sentences: [
    [{'label': each.type, 'start': each.start, 'end': each.end - 1} for each in sentence]
    for sentence in sentences
  ]
  types = sorted(
    {each.type for sentences in (predicted, true) for one in sentences for each in one}
  )
  found = nervaluate.Evaluator(listed(true), listed(predicted), types, loader='dict').evaluate()
  scores = {'': found['overall']} | {each: found['entities'][each] for each in types}
  fields = {'precision': 'precision', 'recall': 'recall', 'f1': 'f1', 'number': 'possible'}
  return {
    name: {ours: float(getattr(each['strict'], theirs)) for ours, theirs in fields.items()}
    for name, each in scores.items()
  }


def entity_confusions(
  predicted: Sequence[Sequence[tag_schemes.Entity]],
  true: Sequence[Sequence[tag_schemes.Entity]],
  types: Sequence[str],
) -> list[list[int]]:
  """Returns how often entities with the same boundaries have which types.

  Rows are the true types, columns the predicted ones; the last of either is no entity with these
  boundaries.
  """
  number = {each: n for n, each in enumerate(types)}
  counts = np.zeros((len(types) + 1, len(types) + 1), int)
  for ours, theirs in zip(predicted, true):
    by_place = [{each[1:]: number[each.type] for each in one} for one in (theirs, ours)]
    for place in by_place[0] | by_place[1]:
      row, column = (each.get(place, len(types)) for each in by_place)
      counts[row, column] += 1
  return counts.tolist()
