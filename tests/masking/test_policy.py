import dataclasses
import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax import config
from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.masking import policy as policy_lib
from tests.masking import conftest

LINEAR = dict(schedule='linear', final_rate=0.1)
KINDS = {
  'token, exact': dict(unit='token', sampling='fixed_count'),
  'token, independent': dict(unit='token', sampling='bernoulli'),
  'word, exact': dict(unit='word', sampling='fixed_count'),
  'word, independent': dict(unit='word', sampling='bernoulli'),
  'span of words': dict(unit='span'),
  'span of tokens, split by token': dict(
    unit='span', span_of='token', span_length_distribution='uniform', corruption_per='token'
  ),
  'collocation': dict(unit='collocation'),
  'sentence': dict(unit='sentence'),
  'rare tokens, independent': dict(selection='frequency', sampling='bernoulli'),
  'rare words': dict(unit='word', selection='frequency'),
  'words by class': dict(unit='word', selection='class'),
  'tokens by accuracy, falling rate': dict(selection='accuracy', **LINEAR),
  'long words': dict(unit='word', selection='tests.masking.own:LongWords'),
  'rate of each row': dict(sampling='bernoulli', schedule='row', final_rate=0.9),
  'replaced by frequency': dict(
    replacement_distribution='frequency', corruption_probs=(0.2, 0.7, 0.1)
  ),
  'words predicted in part': dict(unit='word', predict_fraction=0.5, static_copies=2),
}
GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 'masks.json'
mask_batch = jax.jit(masking.mask_batch)

QUICK = ('token, exact', 'span of words', 'words by class', 'rate of each row')
kinds = [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
every_kind = pytest.mark.parametrize('kind', kinds)
every_kind_with_one_rate = pytest.mark.parametrize(
  'kind', [each for name, each in zip(KINDS, kinds) if 'schedule' not in KINDS[name]]
)


def make(table, kind, rate=0.4):
  """Returns a policy of a kind, whose max_rate is 1 so that all rates share a program."""
  policy = conftest.learned(masking.make(table, rate=rate, **KINDS[kind]))
  return dataclasses.replace(policy, max_rate=1.0)


def take(tree, rows):
  return jax.tree.map(lambda x: np.asarray(x)[rows], tree)


def assert_equal(ours, theirs):
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_two_kinds_never_share_a_program(table):
  """`jax.jit` looks a program up by the structure of its arguments."""
  structures = {kind: jax.tree.structure(make(table, kind)) for kind in KINDS}
  for (one, a), (other, b) in itertools.combinations(structures.items(), 2):
    assert a != b, (one, other)


@every_kind
def test_masks_do_not_depend_on_batch_split_or_row_order(table, batch, kind):
  policy, key = make(table, kind), rng.root_key(0)
  together = mask_batch(policy, key, batch)
  for rows in ([0], [3], [5, 4, 3, 2, 1, 0], [1, 1, 4, 0, 1, 4]):
    assert_equal(take(together, rows), mask_batch(policy, key, take(batch, rows)))  # two programs


@every_kind
def test_masks_do_not_depend_on_the_number_of_devices_or_the_width_of_ids(table, batch, kind):
  policy, key = make(table, kind), rng.root_key(0)
  mesh = jax.make_mesh((2,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
  wide = dataclasses.replace(batch, tokens_BL=batch.tokens_BL.astype(np.int32))
  by_row = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
  two = jax.jit(masking.mask_batch, out_shardings=by_row)(policy, key, jax.device_put(wide, by_row))
  jax.block_until_ready(two)
  assert len(two.inputs_BL.devices()) == 2
  assert_equal(take(mask_batch(policy, key, batch), slice(None)), take(two, slice(None)))


@every_kind
def test_masks_do_not_depend_on_compilation(table, batch, kind):
  policy, key = make(table, kind), rng.root_key(0)
  compiled = mask_batch(policy, key, batch)
  assert_equal(compiled, masking.mask_batch(policy, key, batch))
  assert (compiled.inputs_BL.dtype, compiled.targets_BL.dtype) == (jnp.int32, jnp.int32)


def test_masks_are_those_that_were_recorded(table):
  """The same in every process, on every platform, with every version of jax."""
  batch = conftest.make_batch(rows=2, length=16)
  masks = {}
  for kind in KINDS:
    masked = mask_batch(make(table, kind), rng.root_key(1), batch, 0.25)
    masks[kind] = np.asarray(masked.inputs_BL).tolist()
    if KINDS[kind].get('predict_fraction', 1) < 1:
      masks[f'{kind}: predicted'] = np.asarray(masked.chosen_BL).astype(int).tolist()
  assert masks == json.loads(GOLDEN.read_text()), (
    'Masks changed, so no earlier run can be resumed or repeated, and evaluations no longer '
    'compare '
    'with earlier ones. If that is not what you meant, find the cause. If it is, say so in the '
    f'release notes and write this to tests/golden/masks.json: {json.dumps(masks)}'
  )


@every_kind_with_one_rate
def test_a_traced_rate_gives_the_masks_of_a_fixed_one_and_vmaps(table, batch, kind):
  key, rates = rng.root_key(0), np.array([0.05, 0.15, 0.5, 1.0], np.float32)
  base = make(table, kind, rate=1.0)
  with_rate = lambda rate: masking.mask_batch(base.with_rate(rate), key, batch)
  together = jax.jit(jax.vmap(with_rate))(rates)
  for r, rate in enumerate(rates):
    fixed = make(table, kind, rate=float(rate)).with_learned(base.learned)
    assert_equal(take(together, r), mask_batch(fixed, key, batch))
  assert np.array_equal(together.action_BL[-1] > 0, together.units_BL[-1] >= 0)


@every_kind
def test_rows_without_maskable_tokens_stay_as_they_are(table, batch, kind):
  batch.tokens_BL[1] = conftest.PAD
  batch.tokens_BL[2] = conftest.CLS
  masked = mask_batch(make(table, kind, rate=0.8), rng.root_key(0), batch)
  assert not masked.chosen_BL[1:3].any() and (masked.units_BL[1:3] == -1).all()
  assert np.array_equal(masked.inputs_BL[1:3], batch.tokens_BL[1:3])
  assert masked.chosen_BL[0].any()


def test_copies_return_and_dynamic_masks_do_not(table, batch):
  def inputs(copies, visit):
    again = dataclasses.replace(batch, visit_B=np.full_like(batch.visit_B, visit))
    return mask_batch(
      masking.make(table, static_copies=copies), rng.root_key(0), again
    ).inputs_BL.tolist()

  assert inputs(1, 0) == inputs(1, 1) == inputs(1, 7) == inputs(0, 0)
  assert inputs(3, 1) == inputs(3, 4) == inputs(0, 1) != inputs(3, 2)
  assert inputs(0, 0) != inputs(0, 1)


def test_the_action_of_a_word_is_one(table):
  batch = conftest.make_batch(rows=50)
  masked = take(
    mask_batch(
      masking.make(table, unit='word', rate=0.9, corruption_probs=(0.3, 0.3, 0.4)),
      rng.root_key(0),
      batch,
    ),
    slice(None),
  )
  inside_BL = masked.units_BL >= 0
  first_BL = np.take_along_axis(masked.action_BL, np.maximum(masked.units_BL, 0), axis=1)
  assert (first_BL == masked.action_BL)[inside_BL].all()
  assert set(masked.action_BL[masked.chosen_BL]) == {1, 2, 3}


@pytest.mark.parametrize(
  'settings, message',
  (
    ({'rate': 0}, 'rate = 0'),
    ({'rate': -0.1}, 'rate = -0.1'),
    ({'rate': 1.5}, 'between 0 and 1'),
    ({'rate': float('nan')}, 'rate = nan'),
    ({'corruption_probs': (0.8, 0.1)}, 'three shares'),
    ({'corruption_probs': (0.8, 0.3, -0.1)}, 'sum to 1'),
    ({'corruption_probs': (0.8, 0.1, 0.2)}, 'sum to 1'),
    ({'corruption_probs': (float('nan'), 0.5, 0.5)}, 'corruption_probs'),
    ({'unit': 'wrod'}, 'one of collocation, sentence, span, token, word'),
    ({'sampling': 'some'}, 'one of fixed_count, bernoulli'),
    ({'selection': 'rare'}, 'one of accuracy, content, frequency, uniform, class, or module:Class'),
    ({'static_copies': -1}, 'at least 0'),
    ({'static_copies': 0.5}, 'of type int'),
    ({'ratee': 0.5}, 'did you mean config.masking.rate'),
  ),
)
def test_settings_that_cannot_work_are_refused_in_one_line(table, settings, message):
  with pytest.raises(config.UserError, match=message) as caught:
    masking.make(table, **settings)
  assert '\n' not in str(caught.value)


def test_a_vocabulary_of_special_tokens_only_is_refused():
  with pytest.raises(config.UserError, match='nothing to mask'):
    masking.make(vocabulary.table(2, 0, (0, 1)))


def test_what_the_config_calls_masking_makes_a_policy(table):
  assert isinstance(masking.make(table, **config.base().masking.to_dict()), masking.Policy)


@every_kind
def test_the_cap_holds_every_group_and_no_more_than_all_tokens(kind, length=64):
  """Groups without special tokens, their fullest, of words up to some 8 pieces."""
  g = np.random.default_rng(0)
  table = vocabulary.table(
    50,
    0,
    (0,),
    starts_V=g.random(50) < 0.5,
    closes_V=g.random(50) < 0.06,
    counts_V=np.arange(50),
    classes=conftest.CLASSES,
  )
  batch = conftest.make_batch(rows=1920, length=length)
  batch = dataclasses.replace(
    batch, tokens_BL=g.integers(1, 50, batch.tokens_BL.shape).astype(np.uint16)
  )
  for rate in (0.05, 0.15, 0.8, 1.0):
    policy = make(table, kind, rate)
    chosen_BL = mask_batch(policy, rng.root_key(0), batch).chosen_BL
    policy = masking.make(table, rate=rate, **KINDS[kind])  # with its own max_rate
    for rows in (1, 4, 64):
      cap = policy.cap(rows, length)
      assert (
        np.asarray(chosen_BL).reshape(-1, rows * length).sum(axis=1).max() <= cap <= rows * length
      )
      assert cap % 8 == 0 or cap == rows * length


def test_exact_token_budgets_cost_next_to_no_slack(table):
  policy = masking.make(table, rate=0.15)
  assert policy.cap(256, 512) <= 0.15 * 256 * 512 * 1.005
  assert policy.cap(1, 512) == 80


def test_numbers_are_leaves_and_structure_is_static(table):
  a = masking.make(table, rate=0.15)
  corruption = dataclasses.replace(a.corruption, probs_3=np.float32([1, 0, 0]))
  b = dataclasses.replace(a.with_rate(np.float32(0.3)), corruption=corruption)
  assert jax.tree.structure(a) == jax.tree.structure(b)
  assert jax.tree.structure(a) != jax.tree.structure(masking.make(table, unit='word'))
  assert isinstance(policy_lib.make(table).max_rate, float)


_TABLE = vocabulary.table(20, 3, (0, 1, 2, 3))
_BATCH = batches.from_rows(np.full((2, 8), 5))
_ARGUMENTS = {
  'policy': masking.make(_TABLE),
  'root_key': rng.root_key(0),
  'batch': _BATCH,
  'progress': 0.5,
}


@pytest.mark.parametrize(
  'name, other',
  [
    ('policy', None),
    ('policy', _TABLE),
    ('root_key', 0),
    ('root_key', np.zeros(2, np.uint32)),
    ('root_key', jax.random.split(rng.root_key(0))),
    ('batch', np.full((2, 8), 5)),
    ('batch', dataclasses.replace(_BATCH, tokens_BL=[[1, 2]])),
    ('batch', dataclasses.replace(_BATCH, tokens_BL=np.zeros((2, 8)))),
    ('batch', dataclasses.replace(_BATCH, starts_BS=np.zeros((3, 1), int))),
    ('batch', dataclasses.replace(_BATCH, example_B2=np.zeros((2, 3), int))),
    ('batch', dataclasses.replace(_BATCH, visit_B=np.zeros((2, 1), int))),
    ('progress', 'half'),
    ('progress', 1.5),
    ('progress', float('nan')),
    ('progress', np.zeros(2)),
  ],
)
def test_an_argument_of_another_type_or_shape_is_named_in_one_line(name, other):
  masking.mask_batch(**_ARGUMENTS)
  with pytest.raises(config.UserError, match=f'^{name}') as error:
    masking.mask_batch(**_ARGUMENTS | {name: other})
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'name, other',
  [
    ('policy', 'bert'), ('seed', -1), ('seed', True), ('seed', None), ('rows', 0),
    ('rows', 10**9), ('rows', 4096.0), ('length', 8), ('length', 1 << 14), ('length', '128'),
  ],
)  # fmt: skip
def test_what_cannot_be_checked_is_refused(name, other):
  with pytest.raises(config.UserError, match=name):
    masking.check(**{'policy': _ARGUMENTS['policy'], 'rows': 4096} | {name: other})
