"""Classification of texts or of pairs of texts, with one label each or several."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import classification as examples_lib
from mlm_jax.data.examples import segments
from mlm_jax.data.examples import store
from mlm_jax.evaluation import error_tables
from mlm_jax.evaluation import resampling
from mlm_jax.evaluation import task_metrics
from mlm_jax.models.architecture import Architecture
from mlm_jax.objectives import classification
from mlm_jax.objectives import finetuning

Example = examples_lib.Example
read, stream = examples_lib.read, examples_lib.stream


def check(task: Any) -> None:
  if task.multilabel and task.label_smoothing:
    raise config_lib.UserError(
      f'config.task.label_smoothing = {task.label_smoothing}: must be 0 where '
      'config.task.multilabel = True'
    )


def unlabelled(where: str, given: Any, task: Any) -> Example:
  return examples_lib.unlabelled(where, given, task)


def key(example: Example) -> tuple[str, ...]:
  return example.texts


def facts(task: Any, training: Sequence[Example]) -> dict[str, Any]:
  """Returns {'labels': their names, 'multilabel': bool}."""
  labels = examples_lib.names(training, task.labels)
  if task.class_weights and len(task.class_weights) != len(labels):
    raise config_lib.UserError(
      f'config.task.class_weights has {len(task.class_weights)} weights for {len(labels)} labels: '
      + ', '.join(labels[:20])
    )
  return {'labels': labels, 'multilabel': task.multilabel}


def encode(
  examples: Sequence[Example], config: Any, tokenizer: tokenizers.Tokenizer, facts: dict
) -> store.Encoded:
  examples_lib.check(examples, facts['labels'])
  tokens, cut = segments.encode(
    [each.texts for each in examples], tokenizer, config.data, models.pair_seps(config.model)
  )
  labels = _labels(examples, facts)
  name = classification.LABELS if facts['multilabel'] else classification.LABEL
  fields = [dataclasses.asdict(each) for each in examples]
  return store.Encoded(fields, tokens, {name: labels}, {name: -1}, cut)


def _labels(examples: Sequence[Example], facts: dict) -> np.ndarray:
  """Returns int32 [N], or int8 [N, C] of several labels; -1 of examples without labels."""
  number = {name: i for i, name in enumerate(facts['labels'])}
  if not facts['multilabel']:
    return np.array([number[each.labels[0]] if each.labels else -1 for each in examples], np.int32)
  has_NC = np.zeros((len(examples), len(number)), np.int8)
  for n, each in enumerate(examples):
    has_NC[n, [number[name] for name in each.labels or ()]] = 1
    if each.labels is None:
      has_NC[n] = -1
  return has_NC


def head(config: Any, architecture: Architecture, facts: dict) -> finetuning.Head:
  task = config.task
  return classification.ClassificationHead(
    models.sequence_head(config.model, architecture, len(facts['labels'])),
    task.pooling,
    facts['multilabel'],
    tuple(task.class_weights),
    task.label_smoothing,
  )


def has_pairs(task: Any) -> bool:
  return bool(task.second_text)


def metrics(task: Any) -> dict[str, str]:
  return task_metrics.MULTILABEL if task.multilabel else task_metrics.CLASSIFICATION


def score(outputs: list[dict], examples: Sequence[Example], facts: dict) -> dict[str, float]:
  logits_NC, labels = _logits(outputs), _labels(examples, facts)
  if facts['multilabel']:
    return task_metrics.multilabel(logits_NC > 0, labels > 0)
  return task_metrics.classification(logits_NC.argmax(1), labels, len(facts['labels']))


def _logits(outputs: list[dict]) -> np.ndarray:
  return np.stack([each['logits_BSC'] for each in outputs]).astype(np.float64)


def predictions(
  outputs: list[dict], examples: Sequence[Example], facts: dict
) -> list[dict[str, Any]]:
  """Returns {text, label, prediction, probabilities} of each example."""
  logits_NC, names = _logits(outputs), facts['labels']
  if facts['multilabel']:
    probability_NC = 1 / (1 + np.exp(-logits_NC))
    predicted = [[names[c] for c in np.flatnonzero(row)] for row in probability_NC > 0.5]
  else:
    probability_NC = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
    probability_NC /= probability_NC.sum(1, keepdims=True)
    predicted = [names[c] for c in probability_NC.argmax(1)]
  found = []
  for example, one, probability_C in zip(examples, predicted, probability_NC):
    line: dict[str, Any] = dict(zip(('text', 'second_text'), example.texts))
    if example.labels is not None:
      line['label'] = list(example.labels) if facts['multilabel'] else example.labels[0]
    line['prediction'] = one
    line['probabilities'] = {
      name: round(float(p), 6) for name, p in zip(names, probability_C, strict=True)
    }
    found.append(line)
  return found


def errors(predictions: list[dict[str, Any]], facts: dict) -> dict[str, Any]:
  """Returns {'labels', 'per_class', 'by_characters'}, and `confusions` of one label an example.

  Rows of these are the true labels. The characters are those of the texts.
  """
  names, (predicted_NC, true_NC) = facts['labels'], _has(predictions, facts)
  right_N = (predicted_NC == true_NC).all(1)
  metric = 'exact_match' if facts['multilabel'] else 'accuracy'
  found = {
    'labels': names,
    'per_class': task_metrics.per_class(predicted_NC, true_NC, names),
    'by_characters': error_tables.by_length(
      [len(each['text']) + len(each.get('second_text', '')) for each in predictions],
      lambda here: {metric: float(right_N[here].mean())},
    ),
  }
  if facts['multilabel']:
    return found
  numbers = predicted_NC.argmax(1), true_NC.argmax(1)
  return found | {'confusions': task_metrics.confusions(*numbers, len(names))}


def _has(predictions: list[dict[str, Any]], facts: dict) -> tuple[np.ndarray, np.ndarray]:
  """Returns bool [N, C] twice: the labels that are predicted, and the true ones."""
  number = {name: i for i, name in enumerate(facts['labels'])}
  found = np.zeros((2, len(predictions), len(number)), bool)
  for n, line in enumerate(predictions):
    for of, field in zip(found, ('prediction', 'label')):
      several = line[field] if facts['multilabel'] else [line[field]]
      of[n, [number[name] for name in several]] = True
  return found[0], found[1]


def sums(predictions: list[dict[str, Any]], facts: dict) -> resampling.Sums:
  """Returns what the scores are made of; see downstream.sums."""
  predicted_NC, true_NC = _has(predictions, facts)
  of_NX = resampling.by_class(predicted_NC & true_NC, predicted_NC, true_NC)
  if not facts['multilabel']:
    return resampling.Sums(of_NX, resampling.one_label)
  right_N2 = np.stack([(predicted_NC == true_NC).all(1), np.ones(len(of_NX))], axis=1)

  def scores(sums_RX: np.ndarray) -> dict[str, np.ndarray]:
    of_classes = resampling.parted(sums_RX[:, 2:])
    return {
      'exact_match': resampling.ratio(sums_RX[:, 0], sums_RX[:, 1]),
      'macro_f1': resampling.f1(*of_classes).mean(1),
      'micro_f1': resampling.f1(*(each.sum(1) for each in of_classes)),
    }

  return resampling.Sums(np.concatenate([right_N2, of_NX], axis=1), scores)
