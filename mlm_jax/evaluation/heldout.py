"""Held-out masked loss and accuracy: sums over the whole set, divided once.

Runs are compared under one reference policy (uniform 15 %, all [MASK]) whose
masks depend on a constant key: on the same prepared data they are the same in every
run, whatever its seed and its own policy.
"""

from collections.abc import Callable
import dataclasses
import functools
import math
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import metrics
from mlm_jax.core import rng
from mlm_jax.core import vocabulary

Sums = dict[str, tuple[jax.Array, jax.Array]]


_REFERENCE = {'rate': 0.15, 'corruption_probs': (1.0, 0.0, 0.0)}


def reference_policy(table: vocabulary.Table) -> masking.Policy:
  """Returns the policy under which every run is scored."""
  return masking.make(table, **_REFERENCE)


def reference_settings() -> dict[str, Any]:
  """Returns the reference policy as the group `masking` of a config."""
  return config_lib.masking(_REFERENCE).to_dict()


def reference_key() -> jax.Array:
  """Returns the constant key of the reference masks."""
  return rng.named(rng.root_key(0), 'reference evaluation')


@dataclasses.dataclass(frozen=True)
class Evaluator:
  """Scores a model on held-out rows under one policy; called as problem.Problem says.

  Attributes:
    eval_step: (params, aux, policy, batch, root_key, progress) -> {metric: (sum, weight)}.
    hparams: the masking policy.
    loaders: {source: loader}, each with len() and batch(i).
    put: host batch -> device batch.
  """

  eval_step: Callable
  hparams: masking.Policy
  loaders: dict[str, Any]
  put: Callable

  def __call__(self, params: Any, aux: Any, progress: float) -> dict[str, float]:
    """Returns {metric: mean} over all held-out rows; of several sources also of each its loss.

    Args:
      params: the model's.
      aux: what an adaptive policy has learned.
      progress: share of the training done; a policy's rate may depend on it.
    """
    step = lambda batch: self.score(params, aux, self.hparams, batch, progress)
    return self.means(self.sums(step, self.put))

  def score(
    self, params: Any, aux: Any, hparams: masking.Policy, batch: batches.Batch, progress: Any
  ) -> Sums:
    """Returns {metric: (sum, weight)} of one batch on the devices."""
    return self.eval_step(params, aux, hparams, batch, reference_key(), progress)

  def sums(self, score: Callable, put: Callable) -> dict[str, Sums]:
    """Returns {source: {metric: (sum, weight)}} on the host, from score(batch) over all rows."""
    return {
      source: _sums(score, loader, put) for source, loader in self.loaders.items() if len(loader)
    }

  def means(self, sums: dict[str, Sums]) -> dict[str, float]:
    """Returns {metric: mean} of what `sums` gave; of several sources also loss_on_SOURCE."""
    # Sums are added before the one division, so each source counts by its predictions.
    values = with_perplexity(metrics.means(functools.reduce(metrics.add, sums.values())))
    if len(self.loaders) > 1:
      each = {source: metrics.means(of_source) for source, of_source in sums.items()}
      values |= {f'loss_on_{source}': own['loss'] for source, own in each.items() if 'loss' in own}
    return values


def with_perplexity(values: dict[str, float]) -> dict[str, float]:
  """Returns the metrics with `perplexity`, exp(loss), beside `loss`."""
  if 'loss' not in values:
    return values
  # exp(710) would overflow; a model that is as bad as that has diverged.
  return values | {'perplexity': math.exp(min(values['loss'], 700.0))}


def _sums(score: Callable, loader: Any, put: Callable) -> Any:
  """Returns {metric: (sum, weight)} over all batches of a loader, on the host."""
  # Sums stay on the devices until the end, where they are read once.
  total = None
  for i in range(len(loader)):
    sums = score(put(loader.batch(i)))
    total = sums if total is None else metrics.add(total, sums)
    # On a CPU queued steps with collectives can starve each other.
    jax.block_until_ready(total)
  return jax.device_get(total)
