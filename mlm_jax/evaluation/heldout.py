"""Held-out masked loss and accuracy: sums over the whole set, divided once.

Runs are compared under one reference policy (uniform 15 %, all [MASK]) whose
masks hang on a constant key: on the same prepared data they are the same in every
run, whatever its seed and its own policy.
"""

import dataclasses
import functools
from typing import Any
from typing import Callable

import jax

from mlm_jax import masking
from mlm_jax.core import metrics
from mlm_jax.core import rng


def reference_policy(table):
  """Returns the policy under which every run is scored."""
  return masking.make(table, rate=0.15, corruption_probs=(1.0, 0.0, 0.0))


def reference_key():
  """Returns the constant key of the reference masks."""
  return rng.named(rng.root_key(0), 'reference evaluation')


@dataclasses.dataclass(frozen=True)
class Evaluator:
  """Scores a model on held-out rows under one policy; called as train.Problem says.

  Attributes:
    eval_step: (params, policy, batch, root_key, progress) -> {metric: (sum, weight)}.
    policy: how the held-out rows are masked.
    loaders: {source: loader}, each with len() and batch(i).
    put: host batch -> device batch.
  """

  eval_step: Callable
  policy: Any
  loaders: dict
  put: Callable

  def __call__(self, params, progress, adapted):
    """Returns {metric: mean} over all held-out rows, with several sources also loss_on_SOURCE of
    each.

    Args:
      params: the model's.
      progress: share of the training done; a policy's rate may depend on it.
      adapted: what an adaptive policy has learned.
    """
    policy = self.policy.with_learned(adapted)
    step = lambda batch: self.eval_step(params, policy, batch, reference_key(), progress)
    return means(sums(step, self.loaders, self.put), len(self.loaders) > 1)


def sums(score, loaders, put):
  """Returns {source: {metric: (sum, weight)}} on the host, from score(batch) over all rows of each
  loader.
  """
  return {source: _sums(score, loader, put) for source, loader in loaders.items() if len(loader)}


def means(sums, several):
  """Returns {metric: mean} of what `sums` gave; of several sources also loss_on_SOURCE of each."""
  values = metrics.means(functools.reduce(metrics.add, sums.values()))
  if several:
    each = {source: metrics.means(of_source) for source, of_source in sums.items()}
    values |= {f'loss_on_{source}': own['loss'] for source, own in each.items() if 'loss' in own}
  return values


def _sums(score, loader, put):
  """Returns {metric: (sum, weight)} over all batches of a loader, on the host."""
  total = None
  for i in range(len(loader)):
    sums = score(put(loader.batch(i)))
    total = sums if total is None else metrics.add(total, sums)
    # On a CPU queued steps with collectives can starve each other.
    jax.block_until_ready(total)
  return jax.device_get(total)
