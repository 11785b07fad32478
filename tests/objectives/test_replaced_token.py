"""Replaced-token detection: what is drawn, what is labelled, what each loss moves."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import objectives
from mlm_jax.core import batches
from mlm_jax.core import metrics
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.objectives import masked
from mlm_jax.objectives import replaced_token
from mlm_jax.training import optim
from mlm_jax.training import step as step_lib
from tests import toys
from tests.models.test_flops import products

SHARINGS = ('tied', 'none', 'gdes')
# 'none' is 'gdes' without the generator's table below: the least that is new.
DRILLED = ('tied', pytest.param('none', marks=pytest.mark.slow), 'gdes')
FALSE_ALARM = 1e-6


def make(rows=8, **settings) -> tuple[Any, Any]:
  """Returns (config, Objective) of a small discriminator with a smaller generator."""
  config = toys.config(
    **{
      'model__family': 'electra',
      'model__size': 'small',
      'model__embedding_width': 16,
      'model__layers': 1,
      'objective__name': 'rtd',
      'objective__generator_width': 0.5,
      **settings,
    }
  )
  return config, objectives.make(config, toys.VOCAB, toys.PAD, toys.SEP, rows)


def policy(rate=0.3):
  return masking.make(toys.table(), rate=rate, corruption_probs=(0.85, 0.0, 0.15))


@functools.partial(jax.jit, static_argnums=0)
def corrupted(objective, params, inputs):
  """Returns the tokens_BL that the discriminator is given."""
  generator = objective.mlm_params(params)
  encoded = objective.generator.encode(generator, inputs.masked)
  logits_PV = objective.generator.predict(generator, encoded, inputs.masked)
  return replaced_token.replace(
    replaced_token.sample(
      logits_PV, inputs.uniform_GP.reshape(-1), inputs.drawable(logits_PV.shape[1])
    ),
    inputs,
  )


@pytest.mark.parametrize('scale', (0.3, 3.0, 12.0))
@pytest.mark.parametrize('barred', ((), (0, 3, 130, 299)))
def test_draws_have_the_distribution_of_the_softmax(scale, barred):
  """Chi-square against the closed form over what may be drawn: two blocks of the vocabulary and one
  that is dead but for 44 columns, without a few tokens that the generator thinks certain.
  """
  V, n = 300, 100_000
  logits_V = np.full(384, -np.inf, np.float32)
  logits_V[:V] = scale * np.random.default_rng(0).normal(size=V)
  drawable_V = np.arange(384) < V
  for i in barred:  # far beyond what a float32 can hold beside the others
    logits_V[i], drawable_V[i] = 200, False
  uniform_P = jax.random.uniform(rng.root_key(3), (n,))
  draw = jax.jit(
    lambda u: jax.lax.map(
      lambda part_P: replaced_token.sample(
        jnp.broadcast_to(logits_V, (len(part_P), 384)), part_P, drawable_V
      ),
      u.reshape(100, -1),
    )
  )
  counts_V = np.bincount(np.asarray(draw(uniform_P)).ravel(), minlength=384)
  assert counts_V[~drawable_V].sum() == 0
  counts_V, logits_V = counts_V[drawable_V], logits_V[drawable_V].astype(np.float64)
  share_V = np.exp(logits_V - logits_V.max())
  expected_V = n * share_V / share_V.sum()
  likely_V = expected_V >= 5  # the rest together
  found = [*counts_V[likely_V], counts_V[~likely_V].sum()]
  expected = [*expected_V[likely_V], expected_V[~likely_V].sum() + 1e-9]
  assert stats.chisquare(found, expected, sum_check=False).pvalue > FALSE_ALARM


@pytest.mark.parametrize('uniform', (0.0, 0.5, 1 - 2.0**-24))
def test_a_draw_never_meets_a_token_without_a_share(uniform):
  random = np.random.default_rng(0)
  logits_PV = np.full((4000, 384), -np.inf, np.float32)
  logits_PV[:, :300] = random.normal(size=(4000, 300))  # sums over many are rounded
  for logits_V in logits_PV[:200]:
    logits_V[random.permutation(384)[3:]] = -np.inf  # at most three are left, or none of the 300
    logits_V[random.integers(300)] = 40 * random.normal()
  tokens_P = np.asarray(
    jax.jit(replaced_token.sample)(
      logits_PV, jnp.full(4000, uniform, jnp.float32), np.ones(384, bool)
    )
  )
  assert np.isfinite(logits_PV[np.arange(4000), tokens_P]).all()


class Special(masked.Objective):
  """Thinks that every token is special, or an id that no piece of the tokenizer has."""

  def predict(self, params, encoded, inputs):
    columns_V = jnp.arange(self.model.architecture.padded_vocab_size)
    wrong_V = jnp.isin(columns_V, jnp.array(toys.SPECIAL)) | (columns_V >= toys.VOCAB)
    return jnp.broadcast_to(100.0 * wrong_V, (inputs.index_GP.size, len(columns_V)))


@pytest.mark.parametrize('vocab_size', (0, 100))
def test_a_draw_is_no_special_token_and_no_id_beyond_the_tokenizer(vocab_size):
  """Of an imported model with a larger table than its tokenizer has pieces, too."""
  objective = make(model__vocab_size=vocab_size)[1]
  inputs = toys.prepare(objective, policy(0.5), toys.batch(), rng.root_key(1))
  special = dataclasses.replace(objective, generator=Special(**vars(objective.generator)))
  tokens_BL = np.asarray(corrupted(special, toys.start(objective), inputs))
  chosen_BL = np.asarray(toys.mask(policy(0.5), rng.root_key(1), toys.batch(), 0.0).chosen_BL)
  drawn_P = tokens_BL[chosen_BL]
  assert drawn_P.min() >= len(toys.SPECIAL) and drawn_P.max() < toys.VOCAB
  assert len(set(drawn_P.tolist())) > 15  # uniform over the others


def test_a_draw_depends_on_visit_example_and_position_alone():
  """The rows of another batch, in another order and in other groups, are given the same numbers."""
  batch = toys.batch()
  numbers = lambda rows, index: np.asarray(
    _uniform(make(rows)[1], jax.tree.map(lambda x: x[index], batch))
  )
  whole_BL, some = numbers(8, np.arange(8)), np.array([6, 1, 3, 4])
  again_BL = numbers(2, some)
  both_BL = (whole_BL[some] >= 0) & (again_BL >= 0)
  assert both_BL.sum() > 10
  np.testing.assert_array_equal(whole_BL[some][both_BL], again_BL[both_BL])
  later = dataclasses.replace(batch, visit_B=batch.visit_B + 1)
  later_BL = np.asarray(_uniform(make(8)[1], later))
  both_BL = (whole_BL >= 0) & (later_BL >= 0)
  assert (whole_BL[both_BL] != later_BL[both_BL]).all()


def _uniform(objective, batch):
  """Returns the number that each chosen position was given, -1 elsewhere."""
  inputs = jax.device_get(toys.prepare(objective, policy(), batch, rng.root_key(0)))
  G, P = inputs.masked.index_GP.shape
  numbers_GR = np.full((G, batch.tokens_BL.size // G), -1.0, np.float32)
  for g in range(G):
    for p in range(P):
      if inputs.masked.action_GP[g, p] > 0:
        numbers_GR[g, inputs.masked.index_GP[g, p]] = inputs.uniform_GP[g, p]
  return numbers_GR.reshape(batch.tokens_BL.shape)


def test_only_chosen_positions_are_changed_and_a_right_draw_counts_as_original():
  config, objective = make()
  params, batch = toys.start(objective), toys.batch()
  inputs = toys.prepare(objective, policy(0.5), batch, rng.root_key(1))
  tokens_BL = np.asarray(corrupted(objective, params, inputs))
  chosen_BL = np.asarray(toys.mask(policy(0.5), rng.root_key(1), batch, 0.0).chosen_BL)
  original_BL = batch.tokens_BL.astype(int)
  np.testing.assert_array_equal(tokens_BL[~chosen_BL], original_BL[~chosen_BL])
  assert (tokens_BL != original_BL)[
    chosen_BL
  ].mean() > 0.8  # 60 tokens, nearly uniform at the start
  sure = dataclasses.replace(objective, generator=Sure(**vars(objective.generator)))
  found = toys.loss(sure, params, inputs)[1]
  assert (
    float(found['replaced_fraction'][0]) == 0 and float(found['accuracy'][0]) == chosen_BL.sum()
  )


class Sure(masked.Objective):
  """Knows the right token, so that a draw changes nothing."""

  def predict(self, params, encoded, inputs):
    return 100 * jax.nn.one_hot(inputs.targets_GP.reshape(-1), 128)


@pytest.mark.parametrize('sharing', DRILLED)
def test_the_discriminators_loss_and_metrics_are_those_of_scikit_learn(sharing):
  config, objective = make(objective__sharing=sharing)
  params, batch = toys.start(objective), toys.batch()
  random = np.random.default_rng(0)
  params = jax.tree.map(lambda x: x + 0.5 * random.normal(size=x.shape).astype(np.float32), params)
  inputs = toys.prepare(objective, policy(), batch, rng.root_key(1))
  tokens_BL = np.asarray(corrupted(objective, params, inputs))
  segments_BL = batches.segments(batch.tokens_BL, batch.starts_BS, toys.PAD)
  seen_BL = np.asarray(segments_BL) > 0

  def detect(params):
    own = objective.encoder_params(params)
    positions_BL = batches.positions(batch.starts_BS, 16)
    hidden_BLD = toys.apply(objective.encoder, own, tokens_BL, segments_BL, positions_BL).hidden_BLD
    return np.asarray(toys.head(objective.encoder, own, hidden_BLD), np.float64)[seen_BL]

  # Some of the tokens are called replaced, so that no count is that of all or none; none is
  # close to the threshold.
  params['head']['out']['bias'] -= np.quantile(detect(params), 0.41, method='midpoint').astype(
    np.float32
  )
  logits_P = detect(params)
  sums, found, _ = toys.loss(objective, params, inputs)
  label_P = (tokens_BL != batch.tokens_BL)[seen_BL]
  said_P = logits_P > 0
  assert 0.1 < said_P.mean() < 0.9
  means = metrics.means(found)
  weight = objective.weights(inputs)['rtd']
  assert weight == len(label_P)
  assert float(sums['rtd'] / weight) == pytest.approx(means['rtd_loss'])
  assert means['rtd_loss'] == pytest.approx(
    sklearn_metrics.log_loss(label_P, 1 / (1 + np.exp(-logits_P)), labels=[False, True]), rel=1e-5
  )
  assert means['rtd_accuracy'] == pytest.approx(sklearn_metrics.accuracy_score(label_P, said_P))
  assert means['replaced_fraction'] == pytest.approx(label_P.mean())
  assert means['rtd_recall'] == pytest.approx(sklearn_metrics.recall_score(label_P, said_P))
  assert means['rtd_precision'] == pytest.approx(
    sklearn_metrics.precision_score(label_P, said_P, zero_division=np.nan), nan_ok=True
  )


@pytest.mark.parametrize('sharing', DRILLED)
def test_each_loss_moves_what_the_sharing_lets_it(sharing):
  """The discriminator's loss never reaches the generator but through tied tables."""
  config, objective = make(objective__sharing=sharing)
  params = jax.tree.map(lambda x: x + 0.01, toys.start(objective))
  inputs = toys.prepare(objective, policy(), toys.batch(), rng.root_key(1))
  gradients = jax.jit(jax.jacrev(lambda params: objective.loss(params, inputs)[0]))(params)
  by_masked, by_replaced = (
    {path for path, g in trees.paths(gradients[term]).items() if np.abs(g).max() > 0}
    for term in ('masked', 'rtd')
  )
  of_generator = {path for path in trees.paths(params) if path.startswith('generator/')}
  token = 'embeddings/token/embedding'
  assert not by_replaced & of_generator
  assert {'head/out/kernel', token, 'layers/attention/query/kernel'} <= by_replaced
  shared = {path for path in trees.paths(params) if path.startswith('embeddings/')}
  if sharing == 'tied':
    assert not any(path.startswith('generator/embeddings') for path in of_generator)
    assert by_masked - of_generator == shared & by_masked and token in by_masked
  else:
    assert by_masked <= of_generator and f'generator/{token}' in by_masked


def test_a_gdes_discriminator_sees_the_sum_and_starts_at_the_generators_table():
  config, objective = make(objective__sharing='gdes')
  params = toys.start(objective)
  table = lambda tree: np.asarray(tree['embeddings']['token']['embedding'])
  assert not table(params).any()
  np.testing.assert_array_equal(table(objective.encoder_params(params)), table(params['generator']))
  params['embeddings']['token']['embedding'] += 1
  np.testing.assert_array_equal(
    table(objective.encoder_params(params)), table(params['generator']) + 1
  )


def test_tied_tables_are_one_parameter_and_the_others_are_two():
  held = {
    sharing: trees.count(toys.start(make(objective__sharing=sharing)[1])) for sharing in SHARINGS
  }
  tables = trees.count(toys.start(make()[1])['embeddings'])
  assert held['none'] == held['gdes'] == held['tied'] + tables


def test_micro_batches_change_nothing():
  config, objective = make(1, objective__sharing='gdes')
  optimizer, rate = optim.make(config.optim, 6), optim.schedule(config.optim, 6)
  states = []
  for parts in (1, 4):
    step = jax.jit(step_lib.make_train_step(objective, optimizer, rate, 6, parts))
    state = jax.jit(step_lib.make_init(objective.init, optimizer))(rng.root_key(0))
    for _ in range(2):
      state, found = step(state, policy(), toys.batch(), rng.root_key(0))
    states.append((state.params, metrics.means(found)))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-5), states[0][0], states[1][0]
  )
  assert states[0][1] == pytest.approx(states[1][1], rel=1e-3, nan_ok=True)


def test_coefficients_weigh_the_means_of_the_two_losses():
  """1 and 50 by default: the gradient of the step is that of the weighted sum of two means."""
  config, objective = make(objective__sharing='none')
  assert objective.coefficients == {'masked': 1.0, 'rtd': 50.0}
  params = toys.start(objective)
  inputs = toys.prepare(objective, policy(), toys.batch(), rng.root_key(1))
  sums, found, _ = toys.loss(objective, params, inputs)
  means = metrics.means(found)
  total = step_lib.combine(objective.coefficients, sums, objective.weights(inputs))
  assert float(total) == pytest.approx(means['loss'] + 50 * means['rtd_loss'], rel=1e-6)


def test_flops_are_those_of_the_products_in_the_program():
  config, objective = make(model__dropout=0.0)
  inputs = jax.eval_shape(
    lambda: objective.prepare(
      policy(), {}, jax.tree.map(jnp.asarray, toys.batch()), rng.root_key(0), 0.0
    )
  )
  params = jax.eval_shape(objective.init, rng.root_key(0))
  traced = jax.make_jaxpr(objective.loss)(params, inputs).jaxpr
  predicted, dead = (
    inputs.masked.index_GP.size,
    128 - toys.VOCAB,
  )  # the program scores dead columns too
  wanted = objective.flops(8 * 16, 8 * 16 * 16, predicted)
  narrow = objective.mlm.model.architecture.embedding_width
  assert products(traced) == wanted + predicted * 2 * dead * narrow


def test_a_generator_whose_heads_do_not_divide_its_width_is_refused():
  with pytest.raises(
    config_lib.UserError, match=r'generator_width = 0.4: the generator would be 19 wide'
  ):
    make(model__width=48, model__heads=6, objective__generator_width=0.4)
