"""What evaluators make of sums."""

import numpy as np
import pytest

from mlm_jax.evaluation import heldout


def test_perplexity_is_the_exponential_of_the_mean_loss():
  assert heldout.with_perplexity({'loss': 2.0}) == {
    'loss': 2.0,
    'perplexity': pytest.approx(7.389056),
  }
  assert heldout.with_perplexity({'accuracy': 1.0}) == {'accuracy': 1.0}
  assert np.isfinite(heldout.with_perplexity({'loss': 1e9})['perplexity'])
