"""Token labelling: a tag for each word, of entities or of one class a word."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import operator
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import store
from mlm_jax.data.examples import tag_schemes
from mlm_jax.data.examples import token_labelling as examples_lib
from mlm_jax.data.examples import words
from mlm_jax.evaluation import error_tables
from mlm_jax.evaluation import resampling
from mlm_jax.evaluation import task_metrics
from mlm_jax.models.architecture import Architecture
from mlm_jax.objectives import finetuning
from mlm_jax.objectives import token_labelling

Example = examples_lib.Example
read = examples_lib.read
_PLAIN = 'plain'
_LEFT_OUT = 'words_left_out'
_NONE = 'none'  # in a table of confusions


def check(task: Any) -> None:
  # Of the tags that are given it can be known already whether they are any.
  if task.labels:
    examples_lib.labels([], task.labels, task.token_labelling.scheme)


def stream(path: str, task: Any) -> Iterator[Example]:
  return examples_lib.stream(path, task)


def unlabelled(where: str, given: Any, task: Any) -> Example:
  return examples_lib.unlabelled(where, given)


def key(example: Example) -> tuple[str, ...]:
  return example.tokens


def facts(task: Any, training: Sequence[Example]) -> dict[str, Any]:
  """Returns {'labels': the tags in their order, 'scheme': of them}."""
  scheme = task.token_labelling.scheme
  labels = examples_lib.labels(training, task.labels, scheme)
  if task.class_weights and len(task.class_weights) != len(labels):
    raise config_lib.UserError(
      f'config.task.class_weights has {len(task.class_weights)} weights for {len(labels)} tags: '
      + ', '.join(labels[:20])
    )
  return {'labels': labels, 'scheme': scheme}


def encode(
  examples: Sequence[Example], config: Any, tokenizer: tokenizers.Tokenizer, facts: dict
) -> store.Encoded:
  examples_lib.check(examples, facts['labels'])
  sentences = words.encode([each.tokens for each in examples], tokenizer, config.data)
  number = {name: i for i, name in enumerate(facts['labels'])}
  labels = []
  for example, sentence in zip(examples, sentences):
    # -1, the number of no word, reads the last entry.
    of_word = np.full(len(example.tokens) + 1, -1, np.int32)
    if example.tags is not None:
      of_word[:-1] = [number[tag] for tag in example.tags]
    labels.append(of_word[sentence.word_T])
  return store.Encoded(
    [dataclasses.asdict(each) for each in examples],
    [each.tokens_T for each in sentences],
    {token_labelling.LABEL: labels, token_labelling.WORD: [each.word_T for each in sentences]},
    {token_labelling.LABEL: -1, token_labelling.WORD: -1},
    cut=sum(each.left_out > 0 for each in sentences),
    counts={'words left out': sum(each.left_out for each in sentences)},
  )


def head(config: Any, architecture: Architecture, facts: dict) -> finetuning.Head:
  return token_labelling.TokenLabellingHead(
    models.token_head(config.model, architecture, len(facts['labels'])),
    tuple(config.task.class_weights),
    config.task.label_smoothing,
  )


def has_pairs(task: Any) -> bool:
  return False


def metrics(task: Any) -> dict[str, str]:
  return task_metrics.TAGS if task.token_labelling.scheme == _PLAIN else task_metrics.ENTITIES


def score(outputs: list[dict], examples: Sequence[Example], facts: dict) -> dict[str, float]:
  """Returns the scores of tags; words that were cut off count as O, or as wrong where plain."""
  predicted, scheme = _predicted(outputs, examples, facts)[0], facts['scheme']
  true = [list(each.tags or ()) for each in examples]
  if scheme == _PLAIN:
    numbers = _numbers(predicted, facts), _numbers(true, facts)
    scores = task_metrics.classification(*numbers, len(facts['labels']))
    return {name: scores[name] for name in ('accuracy', 'macro_f1')}
  found = task_metrics.entities(_entities(predicted), _entities(true))
  pairs = [pair for ours, theirs in zip(predicted, true) for pair in zip(ours, theirs)]
  return {
    **{name: found[''][name] for name in ('f1', 'precision', 'recall')},
    'accuracy': float(np.mean([ours == theirs for ours, theirs in pairs])),
    'invalid_sequences': float(_invalid(predicted, scheme)),
  }


def _predicted(
  outputs: list[dict], examples: Sequence[Example], facts: dict
) -> tuple[list[list[Any]], list[int]]:
  """Returns (the tags of each example's words, how many of them were cut off)."""
  names, found, left_out = facts['labels'], [], []
  missing = None if facts['scheme'] == _PLAIN else tag_schemes.OUTSIDE
  for each, example in zip(outputs, examples, strict=True):
    at = np.flatnonzero(each[token_labelling.WORD] >= 0)
    tags = [names[c] for c in each['logits_BLC'][at].argmax(-1)]
    left_out.append(len(example.tokens) - len(tags))
    found.append(tags + [missing] * left_out[-1])
  return found, left_out


def _entities(tags: Sequence[Sequence[str]]) -> list[list[tag_schemes.Entity]]:
  return [tag_schemes.entities(each) for each in tags]


def _numbers(tags: Sequence[Sequence[Any]], facts: dict) -> np.ndarray:
  """Returns the numbers of the tags of all words, -1 for None."""
  number: dict[Any, int] = {name: i for i, name in enumerate(facts['labels'])}
  return np.array([number.get(each, -1) for sentence in tags for each in sentence])


def _invalid(tags: Sequence[Sequence[Any]], scheme: str) -> int:
  return sum(not tag_schemes.is_valid(each, scheme) for each in tags)


def predictions(
  outputs: list[dict], examples: Sequence[Example], facts: dict
) -> list[dict[str, Any]]:
  """Returns {tokens, tags, prediction, entities} of each example.

  `prediction` has a tag for each word. Of schemes of entities `entities` are those that it says:
  words from `start` up to, and without, `end`. `words_left_out` counts the words at the end that
  the model has not seen: they are O, or None where tags are plain.
  """
  found = []
  for example, tags, left_out in zip(examples, *_predicted(outputs, examples, facts)):
    line: dict[str, Any] = {'tokens': list(example.tokens)}
    if example.tags is not None:
      line['tags'] = list(example.tags)
    line['prediction'] = tags
    if facts['scheme'] != _PLAIN:
      line['entities'] = [each._asdict() for each in tag_schemes.entities(tags)]
    found.append(line | {_LEFT_OUT: left_out})
  return found


def sums(predictions: list[dict[str, Any]], facts: dict) -> resampling.Sums:
  """Returns what the scores are made of; see downstream.sums."""
  pairs = [(each['prediction'], each['tags']) for each in predictions]
  words_N2 = np.array([[sum(map(operator.eq, *each)), len(each[1])] for each in pairs], float)
  accuracy = lambda sums_RX: {'accuracy': resampling.ratio(sums_RX[:, 0], sums_RX[:, 1])}
  if facts['scheme'] != _PLAIN:
    found = [[set(tag_schemes.entities(one)) for one in each] for each in pairs]
    of_N3 = np.array([[len(a & b), len(a), len(b)] for a, b in found], float)
    return resampling.Sums(
      np.concatenate([words_N2, of_N3], axis=1),
      lambda sums_RX: {
        'f1': resampling.f1(*sums_RX.T[2:]),
        'precision': resampling.ratio(sums_RX[:, 2], sums_RX[:, 3]),
        'recall': resampling.ratio(sums_RX[:, 2], sums_RX[:, 4]),
        **accuracy(sums_RX),
      },
    )
  number, C = {name: i for i, name in enumerate(facts['labels'])}, len(facts['labels'])
  of_N3C = np.zeros((len(pairs), 3, C))
  for n, each in enumerate(pairs):
    for said, tag in zip(*each):
      of_N3C[n, 2, number[tag]] += 1
      of_N3C[n, 0, number[tag]] += said == tag
      if said is not None:
        of_N3C[n, 1, number[said]] += 1
  return resampling.Sums(
    np.concatenate([words_N2, of_N3C.reshape(len(pairs), -1)], axis=1),
    lambda sums_RX: {
      **accuracy(sums_RX),
      'macro_f1': resampling.f1(*resampling.parted(sums_RX[:, 2:])).mean(1),
    },
  )


def _mistakes(line: dict[str, Any], facts: dict) -> dict[str, Any]:
  """Returns {'wrong': how many, 'text', 'missed', 'invented'} of a prediction.

  Of plain tags `missed` are the words whose tag is another, and `invented` what was said of them.
  """
  tokens = line['tokens']
  if facts['scheme'] == _PLAIN:
    pairs = zip(tokens, line['tags'], line['prediction'])
    wrong = [(word, tag, said) for word, tag, said in pairs if tag != said]
    missed, invented = ([f'{each[0]}: {each[i]}' for each in wrong] for i in (1, 2))
    return {'wrong': len(wrong), 'text': ' '.join(tokens), 'missed': missed, 'invented': invented}
  true, said = (tag_schemes.entities(line[name]) for name in ('tags', 'prediction'))
  shown = lambda each: f'{" ".join(tokens[each.start : each.end])}: {each.type}'
  missed = [shown(each) for each in true if each not in said]
  invented = [shown(each) for each in said if each not in true]
  number = len(missed) + len(invented)
  return {'wrong': number, 'text': ' '.join(tokens), 'missed': missed, 'invented': invented}


def errors(predictions: list[dict[str, Any]], facts: dict) -> dict[str, Any]:
  """Returns {'labels', 'confusions', 'per_class', 'by_words', 'worst', 'words_left_out'}, and what
  was invalid.

  Confusions are of tags where these are plain, else of the types of entities whose boundaries are
  the same; `none` is no entity with these. Rows are the true ones. The words are those of a
  sentence. The worst sentences have the most tags, or entities, that are wrong.
  """
  predicted, true = ([each[name] for each in predictions] for name in ('prediction', 'tags'))
  scored = sums(predictions, facts)
  ranks = 'accuracy' if facts['scheme'] == _PLAIN else 'f1'
  by_words = lambda here: {ranks: float(scored.scores(scored.of_NK[here].sum(0)[None])[ranks][0])}
  left_out = {
    _LEFT_OUT: sum(each[_LEFT_OUT] for each in predictions),
    'by_words': error_tables.by_length([len(each) for each in true], by_words),
    'worst': error_tables.worst([_mistakes(each, facts) for each in predictions]),
  }
  if facts['scheme'] == _PLAIN:
    numbers, names = (_numbers(predicted, facts), _numbers(true, facts)), facts['labels']
    confusions = task_metrics.confusions(*numbers, len(names))
    per_class = task_metrics.per_class(*numbers, names)
    return {'labels': names, 'confusions': confusions, 'per_class': per_class} | left_out
  types = tag_schemes.types(facts['labels'])
  entities = _entities(predicted), _entities(true)
  per_class = task_metrics.entities(*entities)
  return {
    'labels': [*types, _NONE],
    'confusions': task_metrics.entity_confusions(*entities, types),
    'per_class': {name: each for name, each in per_class.items() if name},
    'invalid_sequences': {
      'predicted': _invalid(predicted, facts['scheme']),
      'labelled': _invalid(true, facts['scheme']),
      'are_read_so': tag_schemes.REPAIR,
    },
  } | left_out
