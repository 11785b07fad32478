"""A masked loss over all that can be chosen, and what it leaves alone."""

import jax
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import metrics
from mlm_jax.core import rng
from tests import toys


def scored(head_rows=2, batch=None, **settings):
  """Returns (objective, params, what toys.scored does) of a policy that hides four tokens of
  ten.
  """
  objective = toys.objective(head_rows, objective__predict_all=True, **settings)
  params = jax.jit(objective.init)(rng.root_key(0))
  policy = masking.make(toys.table(), rate=0.4)
  return (
    objective,
    params,
    jax.device_get(toys.scored(objective, params, policy, batch or toys.batch())),
  )


@pytest.mark.parametrize('head_rows', (1, 4))
def test_the_loss_over_all_is_the_cross_entropy_of_all_maskable_tokens(head_rows):
  objective, params, (_, weights, sums, found, _, hidden_BLD) = scored(head_rows)
  batch = toys.batch()
  drawn = jax.device_get(
    jax.jit(masking.mask_batch)(masking.make(toys.table(), rate=0.4), rng.root_key(1), batch)
  )
  B, L = batch.tokens_BL.shape
  logits_MV = jax.jit(objective.model.head)(params, hidden_BLD.reshape(B * L, -1))
  logits_BLV = np.asarray(logits_MV, np.float64).reshape(B, L, -1)
  share_BLV = np.exp(logits_BLV[:, :, : toys.VOCAB])
  share_BLV /= share_BLV.sum(2, keepdims=True)
  losses = {
    at: -np.log(share_BLV[at][batch.tokens_BL[at]])
    for at in np.ndindex(B, L)
    if batch.tokens_BL[at] not in toys.SPECIAL
  }
  assert float(sums['masked']) == pytest.approx(sum(losses.values()), rel=2e-6)
  assert weights['masked'] == len(losses)
  found = metrics.means(found)
  assert found['loss'] == pytest.approx(np.mean(list(losses.values())), rel=2e-6)
  # By what the model saw: tokens that nobody chose are not among the kept.
  for action, name in ((1, 'masked'), (2, 'random'), (3, 'kept')):
    of_action = [loss for at, loss in losses.items() if drawn.action_BL[at] == action]
    assert found[f'loss_{name}'] == pytest.approx(np.mean(of_action), rel=2e-6)
  assert found['rate'] == pytest.approx(drawn.chosen_BL.sum() / len(losses))
  assert (
    found['predicted'] == pytest.approx(len(losses) / batch.tokens_BL.size)
    and found['overflow'] == 0
  )


def test_what_is_seen_and_what_a_policy_learns_do_not_depend_on_what_the_loss_is_over():
  """An adaptive policy learns from what was hidden alone."""
  *_, (everywhere, _, _, _, counts, _) = scored(counted='vocabulary')
  *_, (chosen, _, _, _, counts_chosen, _) = scored(counted='vocabulary', predict_all=False)
  assert np.array_equal(everywhere.tokens_BL, chosen.tokens_BL)
  assert chosen.used_P.sum() == everywhere.chosen_P.sum() < everywhere.used_P.sum()
  assert counts['wrong_V'].sum() > 20
  jax.tree.map(np.testing.assert_array_equal, counts, counts_chosen)


def test_rows_without_a_token_give_loss_zero_over_all_too():
  empty = batches.Batch(
    np.full((8, 16), toys.PAD, np.uint16),
    np.full((8, 2), -1, np.int32),
    np.zeros((8, 2), np.uint32),
    np.zeros(8, np.uint32),
  )
  *_, (_, weights, sums, found, *_) = scored(batch=empty)
  assert sums['masked'] == weights['masked'] == 0
  assert metrics.means(found) == {'padding': 1.0, 'predicted': 0.0}
