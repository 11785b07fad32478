"""The masked objective against a brute-force version of itself."""

import jax
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import metrics
from mlm_jax.core import rng
from mlm_jax.objectives import masked
from tests import toys


def brute_force(model, params, policy, batch, key):
  """Returns {metric: mean} from full logits at every position, in numpy float64."""
  drawn = jax.device_get(toys.mask(policy, key, batch, 0.0))
  segments_BL = np.asarray(batches.segments(batch.tokens_BL, batch.starts_BS, toys.PAD))
  positions_BL = batches.positions(batch.starts_BS, batch.tokens_BL.shape[1])
  hidden_BLD = toys.apply(model, params, drawn.inputs_BL, segments_BL, positions_BL).hidden_BLD
  logits_BLV = np.asarray(toys.head(model, params, hidden_BLD), np.float64)
  losses, ranks, actions = [], [], []
  for b, l in zip(*np.nonzero(drawn.chosen_BL)):
    logits_V = logits_BLV[b, l, : toys.VOCAB]
    target = drawn.targets_BL[b, l]
    losses.append(np.log(np.exp(logits_V).sum()) - logits_V[target])
    ranks.append((logits_V > logits_V[target]).sum())
    actions.append(drawn.action_BL[b, l])
  losses, ranks, actions = map(np.array, (losses, ranks, actions))
  seen = [(segments_BL[b] == segments_BL[b, l]).sum() for b, l in zip(*np.nonzero(segments_BL))]
  maskable = sum(token not in toys.SPECIAL for token in batch.tokens_BL.flat)
  return {
    'loss': losses.mean(),
    'accuracy': (ranks == 0).mean(),
    'top5_accuracy': (ranks < 5).mean(),
    'loss_masked': losses[actions == 1].mean(),
    'loss_random': losses[actions == 2].mean(),
    'loss_kept': losses[actions == 3].mean(),
    'rate': len(losses) / maskable,
    'predicted': len(losses) / batch.tokens_BL.size,
    'padding': (batch.tokens_BL == toys.PAD).mean(),
    'attended': np.mean(seen),
    'overflow': 0.0,
  }


@pytest.mark.parametrize('head_rows', (1, 4, 8))
def test_compacted_loss_and_metrics_equal_full_logits(head_rows):
  model = toys.model()
  params = toys.start(model)
  policy = masking.make(toys.table(), rate=0.4, corruption_probs=(0.4, 0.3, 0.3))
  batch, key = toys.batch(), rng.root_key(1)
  objective = masked.Objective(model, toys.PAD, head_rows)
  inputs = toys.prepare(objective, policy, batch, key)
  sums, found, _ = toys.loss(objective, params, inputs)
  expected = brute_force(model, params, policy, batch, key)
  found = metrics.means(found)
  assert found == pytest.approx(expected, rel=2e-6)
  weight = objective.weights(inputs)['masked']
  assert float(sums['masked'] / weight) == pytest.approx(expected['loss'], rel=2e-6)


def test_an_overflow_of_the_buffer_is_counted():
  policy = masking.make(toys.table(), rate=0.1)
  # A rate above the one that sizes the buffer: what `max_rate` exists to prevent.
  policy = policy.with_rate(np.float32(0.9))
  batch = toys.batch()
  objective = masked.Objective(toys.model(), toys.PAD, 8)
  inputs = toys.prepare(objective, policy, batch, rng.root_key(0))
  chosen = toys.mask(policy, rng.root_key(0), batch, 0.0).chosen_BL.sum()
  assert int(inputs.overflow_G.sum()) == chosen - policy.cap(8, 16) > 0
  assert int(objective.weights(inputs)['masked']) == policy.cap(8, 16)


def test_rows_without_a_maskable_token_give_loss_zero():
  tokens_BL = np.full((8, 16), toys.PAD, np.uint16)
  empty = batches.Batch(
    tokens_BL, np.full((8, 2), -1, np.int32), np.zeros((8, 2), np.uint32), np.zeros(8, np.uint32)
  )
  model = toys.model()
  objective = masked.Objective(model, toys.PAD, 8)
  inputs = toys.prepare(objective, masking.make(toys.table()), empty, rng.root_key(0))
  sums, found, _ = toys.loss(objective, toys.start(model), inputs)
  assert float(sums['masked']) == 0 and float(objective.weights(inputs)['masked']) == 0
  assert metrics.means(found) == {'padding': 1.0, 'predicted': 0.0}


def test_a_model_of_nan_predicts_nothing_right():
  model = toys.model()
  params = jax.tree.map(lambda x: x * np.nan, toys.start(model))
  objective = masked.Objective(model, toys.PAD, 8)
  inputs = toys.prepare(objective, masking.make(toys.table()), toys.batch(), rng.root_key(0))
  found = metrics.means(toys.loss(objective, params, inputs)[1])
  assert found['accuracy'] == 0 and found['top5_accuracy'] == 0 and np.isnan(found['loss'])
