"""The policies that every run of a sweep is scored under: those that its arms hide by."""

import pytest

from mlm_jax import sweeps
from mlm_jax.evaluation import cross_scores
from mlm_jax.sweeps import policies
from tests import toys
from tests.sweeps import experiments


def differing(runs, base=None):
  """Returns {name: (unit, rate, share of [MASK])} of the policies."""
  found = policies.differing(experiments.plan('w', runs, base).runs)
  return {
    name: (each['unit'], each['rate'], each['corruption_probs'][0]) for name, each in found.items()
  }


@pytest.mark.parametrize(
  'runs, expected',
  (
    (sweeps.product(sweeps.param('optim.learning_rate', [1e-3, 2e-3]), sweeps.seeds(2)), {}),
    ([{'masking.unit': 'word'}], {}),
    # A policy counts once, whatever else the arms differ in, and is named by what is set of it.
    (
      sweeps.product(
        sweeps.param('masking.unit', ['token', 'word']),
        sweeps.param('optim.learning_rate', [1e-3, 2e-3]),
        sweeps.seeds(2),
      ),
      {'unit=token': ('token', 0.15, 0.8), 'unit=word': ('word', 0.15, 0.8)},
    ),
    (
      [{}, {'masking': 'spanbert', 'masking.rate': 0.4}],
      {'base': ('token', 0.15, 0.8), 'masking=spanbert_rate=0.4': ('span', 0.4, 0.8)},
    ),
    # The default written out is no other policy.
    ([{}, {'masking.rate': 0.15, 'batch_size': 4}], {}),
  ),
)
def test_policies_are_those_that_differ_in_any_setting_of_masking(runs, expected):
  assert differing(runs) == expected


def test_policies_of_stages_count_too():
  stages = lambda *rates: tuple({'steps': 3, 'masking.rate': rate} for rate in rates)
  runs = [{'stages': stages(0.15, 0.3)}, {'stages': stages(0.15, 0.15)}]
  found = differing(runs, toys.config())
  assert list(found.values()) == [('token', 0.15, 0.8), ('token', 0.3, 0.8)]
  assert list(found) == ['base_stage=1', 'base_stage=2']


def test_the_reference_policy_is_not_scored_twice():
  runs = [
    {'masking.unit': unit, 'masking.corruption_probs': (1.0, 0.0, 0.0)}
    for unit in ('token', 'word')
  ]
  found = policies.differing(experiments.plan('w', runs).runs)
  assert len(found) == 2 and list(cross_scores.beside_reference(found)) == [
    'unit=word_corruption_probs=1.0-0.0-0.0'
  ]
