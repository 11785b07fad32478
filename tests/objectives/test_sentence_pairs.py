"""The loss of pairs: exact, apart from the masked loss, however a batch is divided, and something
that is learned.
"""

import functools
import json

import jax
import numpy as np
import pytest

from mlm_jax import __main__
from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import metrics
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.data import prepare
from mlm_jax.data.annotations import sentence_pairs as pairs_lib
from mlm_jax.inference import evaluate
from mlm_jax.inference import predictor as run_lib
from mlm_jax.objectives import masked
from mlm_jax.tasks import pretraining
from mlm_jax.training import optim
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib
from tests import shared_runs
from tests import toys
from tests.data.invented import stories

PAIRS = dict(data__pairs='nsp', objective__pairs_weight=0.7)
BOUNDARY = dict(masking__unit='word', objective__sbo_weight=2.0)


@functools.cache
def both():
  """Returns the objective with both added losses; under `words` they share a program."""
  return toys.objective(**PAIRS, **BOUNDARY)


@functools.cache
def words():
  return masking.make(toys.table(), unit='word')


def test_the_loss_of_pairs_equals_its_closed_form():
  objective = both()
  params = toys.start(objective)
  params['pairs']['out']['bias'] += np.array([0.3, -0.4], np.float32)
  batch = toys.pair_batch()
  _, weights, sums, found, _, hidden_BLD = jax.device_get(
    toys.scored(objective, params, words(), batch)
  )
  dense = lambda x, layer: (
    x @ np.asarray(layer['kernel'], np.float64) + np.asarray(layer['bias'], np.float64)
  )
  losses, hits = [], []
  for b, s in zip(*np.nonzero(batch.pairs_BS)):
    pooled_D = np.tanh(
      dense(hidden_BLD[b, batch.starts_BS[b, s]].astype(np.float64), params['pairs']['pooler'])
    )
    right, wrong = np.exp(dense(pooled_D, params['pairs']['out']))
    is_wrong = batch.pairs_BS[b, s] == pairs_lib.WRONG
    losses.append(-np.log((wrong if is_wrong else right) / (right + wrong)))
    hits.append((wrong > right) == is_wrong)
  assert 0 < len(losses) < (batch.starts_BS >= 0).sum()  # some segments are not pairs
  assert float(sums['pairs']) == pytest.approx(sum(losses), rel=1e-5)
  assert weights['pairs'] == len(losses)
  found = metrics.means(found)
  assert found['pairs_loss'] == pytest.approx(np.mean(losses), rel=1e-5)
  assert found['pairs_accuracy'] == pytest.approx(np.mean(hits))


def test_losses_add_up_with_their_weights():
  """What the encoder starts with is the same without them."""
  assert both().coefficients == {'masked': 1.0, 'pairs': 0.7, 'boundary': 2.0}
  alone = masked.Objective(both().model, toys.PAD, 1, sep_id=toys.SEP)
  params, params_alone = (toys.start(each) for each in (both(), alone))
  assert set(params) - set(params_alone) == {'pairs', 'boundary'}
  jax.tree.map(
    np.testing.assert_array_equal, {name: params[name] for name in params_alone}, params_alone
  )
  _, totals, sums, *_ = toys.scored(both(), params, words(), toys.pair_batch())
  loss = step_lib.combine(both().coefficients, sums, totals)
  mean = {name: float(sums[name]) / float(totals[name]) for name in sums}
  assert float(loss) == pytest.approx(
    mean['masked'] + 0.7 * mean['pairs'] + 2 * mean['boundary'], rel=1e-6
  )
  assert totals['pairs'] != totals['masked'] == totals['boundary']


def steps(batch_of, steps, grad_accumulation_steps=1, mesh=None, **settings):
  """Returns (state, {metric: mean of the last step}) after some steps."""
  config, objective = toys.config(**PAIRS | settings), toys.objective(**PAIRS | settings)
  policy = masking.make(toys.table(), unit='word', rate=0.3)
  mesh = sharding.make_mesh(toys.config(**(mesh or dict(mesh__devices=1))).mesh)
  optimizer = optim.make(config.optim, config.total_steps)
  train_step = step_lib.make_train_step(
    objective,
    optimizer,
    optim.schedule(config.optim, config.total_steps),
    config.total_steps,
    grad_accumulation_steps,
  )
  whole, rows = sharding.replicated(mesh), sharding.by_rows(mesh)
  init = step_lib.make_init(objective.init, optimizer)
  places = sharding.by_rules(mesh, jax.eval_shape(init, rng.root_key(0)))
  train_step = jax.jit(
    train_step, in_shardings=(places, whole, rows, whole), out_shardings=(places, whole)
  )
  state = jax.jit(init, out_shardings=places)(rng.root_key(0))
  sums = {}
  for number in range(steps):
    batch = batch_of(number)
    state, sums = jax.block_until_ready(
      train_step(state, policy, sharding.put(batch, mesh, len(batch.visit_B)), rng.root_key(1))
    )
  return jax.device_get(state), metrics.means(jax.device_get(sums))


BOTH = BOUNDARY | dict(optim__name='lamb', optim__layerwise_lr_decay=0.9)


@pytest.fixture(scope='module')
def undivided():
  return steps(lambda number: uneven(), 2, **BOTH)


def uneven():
  """Rows with no, one and two pairs: a mean of means would show."""
  batch = toys.pair_batch()
  batch.pairs_BS[:3] = 0
  batch.pairs_BS[3, 0] = 0
  return batch


@pytest.mark.parametrize(
  'division',
  (
    dict(mesh=dict(mesh__fsdp=2), grad_accumulation_steps=2),
    pytest.param(dict(grad_accumulation_steps=4), marks=pytest.mark.slow),
    pytest.param(dict(mesh=dict(mesh__tensor=2)), marks=pytest.mark.slow),
  ),
)
def test_a_step_with_added_losses_does_not_depend_on_how_it_is_divided(division, undivided):
  state, means = steps(lambda number: uneven(), 2, **division, **BOTH)
  assert means == pytest.approx(undivided[1], rel=3e-5)
  assert {'pairs_loss', 'pairs_accuracy', 'boundary_loss', 'boundary_accuracy'} <= set(means)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=2e-5),
    state.params,
    undivided[0].params,
  )


@pytest.mark.parametrize('axis', ('fsdp', 'tensor'))
def test_the_heads_of_added_losses_are_shared_out(axis):
  params = jax.eval_shape(toys.objective(**PAIRS, **BOUNDARY).init, rng.root_key(0))
  mesh = sharding.make_mesh(toys.config(**{f'mesh__{axis}': 2}).mesh)
  places = trees.paths(sharding.by_rules(mesh, params))
  halved = {
    path
    for path, x in trees.paths(params).items()
    if path.startswith(('pairs', 'boundary'))
    and np.prod(places[path].shard_shape(x.shape)) == x.size // 2
  }
  kernels = {
    f'{name}/kernel' for name in ('pairs/pooler', 'pairs/out', 'boundary/first', 'boundary/second')
  }
  assert halved == {'fsdp': kernels, 'tensor': {'boundary/bias'}}[axis]


def test_weight_decay_spares_the_norms_and_biases_of_added_heads():
  params = jax.eval_shape(toys.objective(**PAIRS, **BOUNDARY).init, rng.root_key(0))
  decayed = optim.decayed(toys.config().optim, params)
  assert decayed['pairs'] == {name: {'kernel': True, 'bias': False} for name in ('pooler', 'out')}
  assert decayed['boundary'] == {
    'first': {'kernel': True, 'bias': False},
    'second': {'kernel': True, 'bias': False},
    'first_norm': {'scale': False, 'bias': False},
    'second_norm': {'scale': False, 'bias': False},
    'place': {'embedding': True},
    'bias': False,
  }


def test_pairs_are_learned_above_chance():
  """Which sentence has the higher ids: a row holds all ids alike, so that only types and positions
  tell.
  """
  batch_of = lambda number: toys.pair_batch(rows=64, seed=number, ordered=True)
  # Each batch is new, so this is not memory; of 128 pairs chance alone does not guess 115 in 10**20
  # tries.
  _, means = steps(batch_of, 100, total_steps=100, model__init_std=0.1, objective__pairs_weight=1.0)
  assert means['pairs_accuracy'] > 0.9 and means['pairs_loss'] < 0.4


def test_rows_without_pairs_give_no_loss_of_pairs():
  objective = both()
  batch = toys.pair_batch()
  batch.pairs_BS[:] = 0
  params = toys.start(objective)
  _, weights, sums, found, *_ = toys.scored(objective, params, words(), batch)
  assert sums['pairs'] == weights['pairs'] == 0
  assert np.isfinite(step_lib.combine(objective.coefficients, sums, weights))
  assert 'pairs_loss' not in metrics.means(found)


def test_a_discriminator_is_given_the_types():
  objective = toys.objective(data__pairs='nsp', objective__name='rtd', objective__sharing='none')
  params = toys.start(objective)

  @jax.jit
  def detected(params, table_TE):
    inputs = objective.prepare(
      masking.make(toys.table()), {}, toys.pair_batch(), rng.root_key(1), 0.0
    )
    embeddings = params['embeddings'] | {'type': {'embedding': table_TE}}
    return objective.loss(params | {'embeddings': embeddings}, inputs)[0]['rtd']

  table_TE = params['embeddings']['type']['embedding']
  losses = [float(detected(params, each)) for each in (table_TE, table_TE.at[1].set(table_TE[0]))]
  assert abs(losses[0] - losses[1]) > 1e-4


# A run


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  return shared_runs.once(tmp_path_factory, 'pairs', train)


def train(folder):
  (folder / 'a.txt').write_text('\n'.join(stories(300)))
  config = toys.training_config(
    folder / 'a.txt',
    data__pairs='sop',
    data__row_length=32,
    objective__pairs_weight=1.0,
    objective__sbo_weight=1.0,
    objective__predict_all=True,
    masking__unit='word',
    model__layers=1,
    mesh__devices=1,
    total_steps=4,
    evaluation__every=4,
    checkpoint__every=4,
  )
  assert pretraining.run(config, folder / 'run', log=lambda line: None)


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_losses_of_pairs_and_boundaries_are_in_the_logs(trained):
  logged = lines(trained / 'run' / 'metrics.jsonl')
  # A row of 30 tokens is off by a part of a word, so a step of a few rows by some hundredths.
  assert np.mean([line['rate'] for line in logged]) == pytest.approx(0.15, abs=0.04)
  for line in logged:
    assert 0 <= line['pairs_accuracy'] <= 1 and line['pairs_loss'] > 0 and line['boundary_loss'] > 0
    assert line['predicted'] > 0.5
  last = lines(trained / 'run' / 'evaluations.jsonl')[-1]
  for name in ('reference', 'policy'):
    assert 0 <= last[f'{name}_pairs_accuracy'] <= 1 and last[f'{name}_pairs_loss'] > 0
    # Held-out losses are over what is hidden, whatever the training is over.
    assert last[f'{name}_predicted'] < 0.2 and last[f'{name}_boundary_loss'] > 0


def test_a_run_with_pairs_fills_masks_and_is_evaluated_again(trained):
  run = run_lib.open_run(trained / 'run')
  assert len(run.fill('[MASK] one.')[0]) == 5 and 'pairs' in run.trained
  assert np.isfinite(run.embed(['some text', 'more'])).all()
  scores = evaluate.evaluate(trained / 'run')
  last = lines(trained / 'run' / 'evaluations.jsonl')[-1]
  assert scores['reference_pairs_loss'] == pytest.approx(last['reference_pairs_loss'], rel=1e-5)


def test_data_with_pairs_of_another_kind_are_refused_in_an_evaluation(trained, tmp_path):
  data = toys.training_config(trained / 'a.txt', data__row_length=32, data__pairs='nsp').data
  prepared = prepare.prepare(
    data,
    tmp_path / 'data',
    log=lambda line: None,
    model=run_lib.open_run(trained / 'run').tokenizer.model,
  )
  with pytest.raises(
    config_lib.UserError,
    match="config.data.pairs = 'nsp', .* distinguishes pairs of the kind .sop.",
  ):
    evaluate.evaluate(trained / 'run', data=prepared.directory)


def test_a_held_out_row_of_pairs_is_shown_one_sentence_a_line(trained, capsys):
  __main__.main(['mask', f'--workdir={trained / "run"}', '--row=0', '--visits=1'])
  shown = capsys.readouterr().out.splitlines()
  assert len([line for line in shown if line and not line.startswith('  ')]) >= 2


# Settings


@pytest.mark.parametrize(
  'settings, says',
  (
    (dict(data__pairs='swapped'), 'config.data.pairs'),
    (dict(objective__pairs_weight=1.0), "config.data.pairs = '': must be 'nsp' or 'sop'"),
    (
      dict(objective__pairs_weight=-1.0),
      'config.objective.pairs_weight = -1.0: must be at least 0',
    ),
    (PAIRS | dict(model__family='roberta'), 'config.model.types = 0: must be at least 2'),
    (PAIRS | dict(model__types=1), 'config.model.types = 1: must be at least 2'),
    (dict(data__pairs='nsp', model__types=1), 'config.model.types = 1: must be at least 2, or 0'),
    (
      dict(data__pairs='nsp', data__packing='contiguous'),
      "config.data.packing = 'contiguous': must be 'best_fit'",
    ),
    (PAIRS | dict(objective__name='rtd'), "0.0 unless objective.name is 'masked'"),
    (
      dict(objective__name='rtd', objective__sbo_weight=1.0, masking__unit='span'),
      'unless objective.name',
    ),
    (
      dict(objective__name='rtd', objective__predict_all=True),
      "False unless objective.name is 'masked'",
    ),
    (
      dict(objective__sbo_weight=1.0),
      "config.masking.unit = 'token': must be one of several tokens",
    ),
    (
      dict(objective__predict_all=True, masking__predict_fraction=0.5),
      'config.masking.predict_fraction = 0.5: must be 1.0',
    ),
    (dict(objective__rtd_weight=2.0), "50.0 unless objective.name is 'rtd'"),
  ),
)
def test_settings_of_losses_that_cannot_work_are_refused(settings, says):
  with pytest.raises(config_lib.UserError) as error:
    toys.config(**settings)
  assert says in str(error.value) and '\n' not in str(error.value)
