"""The span-boundary loss against a loop over spans, and what its predictions depend on."""

import jax
import numpy as np
import pytest
import scipy.special

from mlm_jax import masking
from mlm_jax.core import metrics
from mlm_jax.core import rng
from tests import toys


def made(head_rows=2, **settings):
  objective = toys.objective(
    head_rows, **dict(objective__sbo_weight=1.0, masking__unit='span') | settings
  )
  params = jax.jit(objective.init)(rng.root_key(0))
  # Biases and norms away from where they start, so that each of them counts.
  draw = np.random.default_rng(0)
  params['boundary'] = jax.tree.map(
    lambda x: x + draw.normal(0, 0.3, x.shape).astype(np.float32), params['boundary']
  )
  return objective, params


def gelu(x):
  return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2


def norm(x, layer):
  return (x - x.mean()) / np.sqrt(x.var() + 1e-12) * layer['scale'] + layer['bias']


def brute_force(params, drawn, hidden_BLD):
  """Returns ([loss], [whether it was guessed]) of the hidden tokens, in numpy, run by run of each
  row.
  """
  hidden_BLD = hidden_BLD.astype(np.float64)
  params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  head, table_VE = params['boundary'], params['embeddings']['token']['embedding'][: toys.VOCAB]
  losses, hits = [], []
  for b, action_L in enumerate(drawn.action_BL):
    position = 0
    while position < len(action_L):
      end = position
      while end < len(action_L) and action_L[end]:
        end += 1
      for place, l in enumerate(range(position, end)):
        place_D = head['place']['embedding'][min(place, 31)]
        x = np.concatenate([hidden_BLD[b, position - 1], hidden_BLD[b, end], place_D])
        for name in ('first', 'second'):
          x = norm(gelu(x @ head[name]['kernel'] + head[name]['bias']), head[f'{name}_norm'])
        logits_V = table_VE @ x + head['bias'][: toys.VOCAB]
        target = drawn.targets_BL[b, l]
        losses.append(scipy.special.logsumexp(logits_V) - logits_V[target])
        hits.append(logits_V.argmax() == target)
      position = max(end, position + 1)
  return losses, hits


@pytest.mark.parametrize(
  'unit, documents, predict_all',
  (('word', 3, True), pytest.param('span', 2, False, marks=pytest.mark.slow)),
)
def test_the_loss_equals_a_loop_over_runs_of_hidden_tokens(unit, documents, predict_all):
  """Units are words of one token here, or spans of these: many of them touch."""
  objective, params = made(masking__unit=unit, objective__predict_all=predict_all)
  policy = masking.make(toys.table(), unit=unit, rate=0.4)
  batch = toys.batch(length=24, documents=documents)
  _, weights, sums, found, _, hidden_BLD = jax.device_get(
    toys.scored(objective, params, policy, batch)
  )
  drawn = jax.device_get(jax.jit(masking.mask_batch)(policy, rng.root_key(1), batch))
  losses, hits = brute_force(params, drawn, hidden_BLD)
  assert weights['boundary'] == len(losses) > 20
  assert float(sums['boundary']) == pytest.approx(sum(losses), rel=2e-5)
  found = metrics.means(found)
  assert found['boundary_loss'] == pytest.approx(np.mean(losses), rel=2e-5)
  assert found['boundary_accuracy'] == pytest.approx(np.mean(hits))


def test_runs_of_hidden_tokens_never_reach_beyond_their_document():
  """At a rate of 1 all is hidden but [CLS] and [SEP]: these are around every run, of each
  sentence of a pair too.
  """
  objective, _ = made(head_rows=1)
  policy = masking.make(toys.table(), unit='span', rate=1.0)
  batch = toys.pair_batch()
  inputs = toys.prepare(objective, policy, batch, rng.root_key(1))
  term = inputs.auxiliary['boundary']
  for b in range(len(batch.tokens_BL)):
    tokens_L, used_P = batch.tokens_BL[b], np.asarray(inputs.action_GP[b]) > 0
    assert used_P.sum() == np.isin(tokens_L, toys.SPECIAL, invert=True).sum()
    left_P, right_P, at_P = (
      np.asarray(x[b])[used_P] for x in (term.left_GP, term.right_GP, inputs.index_GP)
    )
    assert (
      np.isin(tokens_L[left_P], (toys.CLS, toys.SEP)).all()
      and (tokens_L[right_P] == toys.SEP).all()
    )
    for left, right, at, place in zip(left_P, right_P, at_P, np.asarray(term.place_GP[b])[used_P]):
      assert (
        np.isin(tokens_L[left + 1 : right], toys.SPECIAL, invert=True).all()
        and place == at - left - 1
      )
