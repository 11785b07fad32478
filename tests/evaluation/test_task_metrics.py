"""The scores of entities are those of their definition, counted by hand."""

import collections

import numpy as np
import pytest

from mlm_jax.data.examples import tag_schemes
from mlm_jax.evaluation import task_metrics

TAGS = tag_schemes.complete(['x', 'y', 'z'], 'iob2')


def counted(predicted, true):
  """Right, predicted and true entities of each type, as sets of (sentence, type, start, end)."""
  sets = [
    {(n, *each) for n, sentence in enumerate(sentences) for each in sentence}
    for sentences in (predicted, true)
  ]
  scores = {}
  for name in ('', *{each[1] for one in sets for each in one}):
    ours, theirs = ({each for each in one if name in ('', each[1])} for one in sets)
    right = len(ours & theirs)
    ratio = lambda n: right / n if n else 0.0
    scores[name] = {
      'precision': ratio(len(ours)),
      'recall': ratio(len(theirs)),
      'f1': ratio((len(ours) + len(theirs)) / 2),
      'number': len(theirs),
    }
  return scores


def sentences(random, number, share):
  """Sentences of tags, O with some probability: near 1 many have no entity at all."""
  probs = [share] + [(1 - share) / (len(TAGS) - 1)] * (len(TAGS) - 1)
  return [
    tag_schemes.entities(random.choice(TAGS, random.integers(1, 8), p=probs).tolist())
    for _ in range(number)
  ]


@pytest.mark.parametrize('share', (0.1, 0.7, 0.97, 1.0))
def test_entities_are_right_with_their_type_and_both_boundaries(share):
  random = np.random.default_rng(0)
  for _ in range(50):
    predicted = sentences(random, 4, share)
    true = sentences(random, 4, share)
    predicted[:2] = true[:2]
    found, expected = task_metrics.entities(predicted, true), counted(predicted, true)
    assert found.keys() == expected.keys()
    for name, scores in expected.items():
      assert found[name] == pytest.approx(scores), name


def test_confusions_are_of_entities_with_the_same_boundaries():
  random = np.random.default_rng(0)
  predicted, true = sentences(random, 200, 0.5), sentences(random, 200, 0.5)
  counts, types = collections.Counter(), ['x', 'y', 'z']
  for ours, theirs in zip(predicted, true):
    places = {each[1:] for each in (*ours, *theirs)}
    at = lambda entities, place: [each.type for each in entities if each[1:] == place] or ['none']
    counts.update((at(theirs, place)[0], at(ours, place)[0]) for place in places)
  names = [*types, 'none']
  expected = [[counts[row, column] for column in names] for row in names]
  assert task_metrics.entity_confusions(predicted, true, types) == expected
  assert counts['x', 'y'] and counts['x', 'none'] and counts['none', 'z']


def test_scores_of_each_class_leave_out_what_is_nowhere():
  predicted_N, label_N = np.array([0, 0, 2, -1]), np.array([0, 2, 2, 2])
  found = task_metrics.per_class(predicted_N, label_N, ['a', 'b', 'c'])
  assert found == {
    'a': {'precision': 0.5, 'recall': 1.0, 'f1': pytest.approx(2 / 3), 'number': 1},
    'c': {'precision': 1.0, 'recall': pytest.approx(1 / 3), 'f1': 0.5, 'number': 3},
  }
