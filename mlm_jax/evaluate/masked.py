"""Held-out masked loss and accuracy: sums over the whole set, divided once.

Runs are compared under one reference policy (uniform 15 %, all [MASK]) whose
masks hang on a constant key: on the same prepared data they are the same in every
run, whatever its seed and its own policy.
"""

import functools

import jax

from mlm_jax import masking
from mlm_jax import metrics
from mlm_jax import rng


def reference_policy(table):
  """Returns the policy under which every run is scored."""
  return masking.make(table, rate=0.15, split=(1.0, 0.0, 0.0))


def reference_key():
  """Returns the constant key of the reference masks."""
  return rng.named(rng.root_key(0), 'reference evaluation')


def evaluate(eval_step, params, policy, loaders, put, progress=0.0):
  """Returns {metric: mean} over all held-out rows, with several sources also loss_on_SOURCE of each.

  Args:
    eval_step: (params, policy, batch, root_key, progress) -> {metric: (sum, weight)}.
    params: the model's.
    policy: how the held-out rows are masked.
    loaders: {source: loader}, each with len() and batch(i).
    put: host batch -> device batch.
    progress: share of the training done; a policy's rate may depend on it.
  """
  sums = {source: _sums(eval_step, params, policy, loader, put, progress)
          for source, loader in loaders.items() if len(loader)}
  means = metrics.means(functools.reduce(metrics.add, sums.values()))
  if len(loaders) > 1:
    each = {source: metrics.means(of_source) for source, of_source in sums.items()}
    means |= {f'loss_on_{source}': values['loss'] for source, values in each.items() if 'loss' in values}
  return means


def _sums(eval_step, params, policy, loader, put, progress):
  """Returns {metric: (sum, weight)} over all batches of a loader, on the host."""
  total = None
  for i in range(len(loader)):
    sums = eval_step(params, policy, put(loader.batch(i)), reference_key(), progress)
    total = sums if total is None else metrics.add(total, sums)
    # On a CPU queued steps with collectives can starve each other.
    jax.block_until_ready(total)
  return jax.device_get(total)
