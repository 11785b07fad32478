"""What policies learn, against the published formulas in numpy."""

import jax
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax.masking.selections import word_class

adapt = jax.jit(masking.adapt)


def after(policy, counts, step, progress=0.5):
  return policy.with_learned(jax.tree.map(np.asarray, adapt(policy, counts, step, progress)))


def test_only_policies_that_learn_count_anything(table):
  assert masking.make(table).counted == ''
  assert masking.make(table, selection='accuracy').counted == 'vocabulary'
  assert masking.make(table, selection='class').counted == 'class'
  assert masking.make(table, selection='class', class_weights=(1, 2, 3, 4)).counted == ''


def test_before_the_first_step_all_weigh_the_same(table):
  assert len(set(masking.make(table, selection='accuracy').learned['weight_V'].tolist())) == 1
  learned = masking.make(table, selection='class').learned
  assert np.asarray(word_class.class_weights(**learned)).tolist() == [0.5] * 5


@pytest.mark.parametrize(
  'schedule',
  (
    dict(rate=0.4, schedule='linear', final_rate=0.2),
    dict(rate=0.3),
    dict(rate=0.1, schedule='row', final_rate=0.5),
  ),
)
def test_weights_of_pieces_follow_the_published_update_every_200_steps(table, schedule):
  """w <- .2 w + .8 p (1 - (c + .5) / (c + i + 1)), never below .005; counts start again."""
  g = np.random.default_rng(0)
  policy = masking.make(table, selection='accuracy', **schedule)
  weight_V = np.full(200, np.float64(schedule['rate']))
  rate = 0.3 if len(schedule) == 1 else round(0.3 * 2**16) / 2**16  # of a schedule, see `rates`
  correct_V, wrong_V = np.zeros(200), np.zeros(200)
  for step in range(0, 600):
    if step % 100 < 97 and step % 100 > 1:  # the steps that matter, and some more
      continue
    counts = {
      'correct_V': g.integers(0, 4, 208).astype(np.float32) * (np.arange(208) % 2),
      'wrong_V': g.integers(0, 4, 208).astype(np.float32) * (np.arange(208) % 3 > 0),
    }
    policy = after(policy, counts, step)
    correct_V, wrong_V = correct_V + counts['correct_V'][:200], wrong_V + counts['wrong_V'][:200]
    if step in (199, 399, 599):
      accuracy_V = (correct_V + 0.5) / (correct_V + wrong_V + 1)
      weight_V = np.maximum(0.2 * weight_V + 0.8 * rate * (1 - accuracy_V), 0.005)
      correct_V, wrong_V = np.zeros(200), np.zeros(200)
    np.testing.assert_allclose(policy.learned['weight_V'], weight_V, rtol=1e-5)
    np.testing.assert_array_equal(policy.learned['correct_V'], correct_V)
    np.testing.assert_array_equal(policy.learned['wrong_V'], wrong_V)
  assert len(set(policy.learned['weight_V'].tolist())) > 20


def test_weights_of_pieces_stop_at_a_floor(table):
  policy = masking.make(table, selection='accuracy')
  always = {'correct_V': np.full(200, 1e6, np.float32), 'wrong_V': np.zeros(200, np.float32)}
  for _ in range(6):
    policy = after(policy, always, 199)
  assert policy.learned['weight_V'] == pytest.approx(np.full(200, 0.005))


def test_losses_of_classes_are_corrected_running_means(table):
  """The exponential average .999 of each class's mean loss over the steps that had words of it."""
  g = np.random.default_rng(0)
  policy = masking.make(table, selection='class')
  loss_C, steps_C = np.zeros(5), np.zeros(5)
  for step in range(30):
    number_C = g.integers(0, 3, 256).astype(np.float32)
    total_C = (number_C * g.exponential(size=256)).astype(np.float32)
    policy = after(policy, {'loss_C': total_C, 'number_C': number_C}, step)
    for c in np.flatnonzero(number_C[:5]):
      loss_C[c] = 0.999 * loss_C[c] + 0.001 * total_C[c] / number_C[c]
      steps_C[c] += 1
  mean_C = loss_C / (1 - 0.999**steps_C)
  z_C = (mean_C - mean_C[1:].mean()) / mean_C[1:].std()  # 0 is not a class
  expected_C = np.where(np.arange(5) == 0, 0.5, 1 / (1 + np.exp(-2 * z_C)))
  np.testing.assert_allclose(word_class.class_weights(**policy.learned), expected_C, rtol=2e-3)


def test_weights_of_classes_at_minus_one_zero_and_one_standard_deviation(table):
  """The published .12, .50 and .88; a class that was never seen counts as average, and moves no
  other.
  """
  policy = masking.make(table, selection='class')
  spread = np.sqrt(1.5)  # three losses, one apart: their standard deviation is sqrt(2 / 3)
  for a, b, z in ((0, 2, spread), (1, 1, 0)):
    counts = {'loss_C': np.float32([9, a, 1, b, 0]), 'number_C': np.float32([1, 1, 1, 1, 0])}
    weight_C = np.asarray(word_class.class_weights(**after(policy, counts, 0).learned))
    assert weight_C == pytest.approx(1 / (1 + np.exp(-2 * np.array([0, -z, 0, z, 0]))), abs=1e-3)
  two = {'loss_C': np.float32([0, 1, 3, 0, 0]), 'number_C': np.float32([0, 1, 1, 0, 0])}
  assert np.asarray(word_class.class_weights(**after(policy, two, 0).learned)) == pytest.approx(
    [0.5, 0.12, 0.88, 0.5, 0.5], abs=0.005
  )
