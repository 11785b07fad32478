"""Sums over examples give the scores of the libraries, whole and resampled; intervals cover."""

import numpy as np
import pytest
import scipy.stats
from sklearn import metrics

from mlm_jax.downstream import classification
from mlm_jax.downstream import question_answering
from mlm_jax.downstream import token_labelling
from mlm_jax.evaluation import error_tables
from mlm_jax.evaluation import resampling
from mlm_jax.evaluation import squad
from mlm_jax.evaluation import task_metrics

NAMES = ['a', 'b', 'c', 'never']


def of_draw(sums, drawn):
  """Returns the scores of examples that are there several times."""
  weight_1N = np.bincount(drawn, minlength=len(sums.of_NK))[None]
  return {name: each[0] for name, each in sums.scores(weight_1N @ sums.of_NK).items()}


@pytest.mark.parametrize('seed', range(3))
def test_one_label_scores_are_those_of_scikit_learn(seed):
  random = np.random.default_rng(seed)
  true_N, drawn = random.integers(0, 3, 40), random.integers(0, 40, 40)
  said_N = np.where(random.random(40) < 0.6, true_N, random.integers(0, 3, 40))
  lines = [{'label': NAMES[t], 'prediction': NAMES[s]} for t, s in zip(true_N, said_N)]
  sums = classification.sums(lines, {'labels': NAMES, 'multilabel': False})
  assert sums.whole == pytest.approx(task_metrics.classification(said_N, true_N, 4))
  wanted = task_metrics.classification(said_N[drawn], true_N[drawn], 4)
  assert of_draw(sums, drawn) == pytest.approx(wanted)


def test_scores_of_several_labels_are_those_of_scikit_learn():
  random = np.random.default_rng(0)
  true_NC = random.random((40, 4)) < [0.5, 0.3, 0.2, 0]
  said_NC = true_NC ^ (random.random((40, 4)) < [0.2, 0.1, 0.3, 0])
  listed = lambda has_C: [name for name, has in zip(NAMES, has_C) if has]
  lines = [{'label': listed(t), 'prediction': listed(s)} for t, s in zip(true_NC, said_NC)]
  sums = classification.sums(lines, {'labels': NAMES, 'multilabel': True})
  assert sums.whole == pytest.approx(task_metrics.multilabel(said_NC, true_NC))


def random_tags(random, tags, number=30):
  """Returns lines of sentences with tags, and with tags that are wrong in places."""
  lines = []
  for _ in range(number):
    size = random.integers(1, 9)
    true = [str(each) for each in random.choice(tags, size)]
    said = [str(random.choice(tags)) if random.random() < 0.3 else each for each in true]
    lines.append({'tokens': ['w'] * size, 'tags': true, 'prediction': said})
  return lines


def test_entity_scores_are_those_of_the_library_also_of_draws():
  random = np.random.default_rng(1)
  lines = random_tags(random, ['O', 'O', 'B-x', 'I-x', 'B-y'])
  sums = token_labelling.sums(lines, {'labels': [], 'scheme': 'iob2'})
  entities = [token_labelling._entities([line[name] for line in lines]) for name in FIELDS]
  drawn = random.integers(0, len(lines), len(lines))
  for scores, which in ((sums.whole, range(len(lines))), (of_draw(sums, drawn), drawn)):
    wanted = task_metrics.entities(*([each[n] for n in which] for each in entities))['']
    found = {name: scores[name] for name in ('f1', 'precision', 'recall')}
    assert found == pytest.approx({name: wanted[name] for name in found})


FIELDS = 'prediction', 'tags'


def test_plain_tag_scores_are_those_of_scikit_learn():
  lines = random_tags(np.random.default_rng(2), NAMES[:3])
  lines[0]['prediction'][-1] = None  # cut off
  sums = token_labelling.sums(lines, {'labels': NAMES, 'scheme': 'plain'})
  said, true = ([str(tag) for line in lines for tag in line[name]] for name in FIELDS)
  wanted = metrics.f1_score(true, said, labels=NAMES, average='macro', zero_division=0)
  assert sums.whole['macro_f1'] == pytest.approx(wanted)
  assert sums.whole['accuracy'] == pytest.approx(metrics.accuracy_score(true, said))


def test_answer_scores_are_those_of_squad():
  given = [(['a b'], 'a b'), ([], ''), (['c d'], 'd'), ([], 'e'), (['f'], '')]
  lines = [
    {'answers': each, 'f1': squad.f1(each, said), 'exact_match': squad.exact_match(each, said)}
    for each, said in given
  ]
  wanted = squad.scores([each for each, _ in given], [said for _, said in given])
  assert question_answering.sums(lines, {}).whole == pytest.approx(wanted)


def test_the_interval_of_a_mean_is_that_of_scipy():
  values_N = np.random.default_rng(3).exponential(size=200)
  low, high = resampling.intervals(resampling.means({'x': values_N}))['x']
  wanted = scipy.stats.bootstrap(
    (values_N,), np.mean, n_resamples=20_000, method='percentile', rng=np.random.default_rng(0)
  ).confidence_interval
  # Of a thousand draws the edges are known to about a tenth of the standard error.
  assert abs(low - wanted.low) < 0.02 and abs(high - wanted.high) < 0.02
  assert resampling.intervals(resampling.means({'x': values_N}))['x'] == (low, high)


def test_lengths_are_parted_in_quarters_and_equal_ones_are_together():
  length_N = np.array([5, 1, 1, 1, 1, 9, 7, 8])
  found = error_tables.by_length(length_N, lambda here: {'sum': float(length_N[here].sum())})
  assert found == {
    '1': {'examples': 4, 'sum': 4.0},
    '5-7': {'examples': 2, 'sum': 12.0},
    '8-9': {'examples': 2, 'sum': 17.0},
  }
