"""The very step that training would run on a TPU, compiled for it: what it holds and what it sends.

Where a chip's program sends more than it need, this test says where it may.
"""

import importlib.util

import pytest

from mlm_jax.core import trees
from mlm_jax.planning import compiled
from mlm_jax.planning import plan
from mlm_jax.planning import programs
from mlm_jax.planning import topologies
from tests import toys

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    importlib.util.find_spec('libtpu') is None, reason='needs the extra tpu (libtpu)'
  ),
]

WIDTH, HEADS, INNER, ROWS, LENGTH, TABLE = 128, 4, 512, 16, 64, 384
# Of attention and of the feed-forward layers, divided over fsdp.
KERNELS = 4 * WIDTH**2 + 2 * WIDTH * INNER
TRANSFORM = WIDTH**2  # of the head


@pytest.fixture(scope='module')
def step():
  """Returns (the Program of a training step, what it is compiled to) on 2 x 2 devices."""
  topology = topologies.find('tpu:v5e:2x2')
  config = toys.config(
    model__layers=1, model__width=WIDTH, model__heads=HEADS, model__feed_forward=INNER,
    model__dtype='bfloat16', model__max_positions=LENGTH, data__row_length=LENGTH,
    data__vocab_size=300, batch_size=ROWS, mesh__fsdp=2,
  )  # fmt: skip
  mesh = plan.check(config, topology)
  program = next(programs.of(config, mesh))
  return program, compiled.of(program, mesh, topology.groups, topology.device.memory)


def of_kind(step, kind, axes):
  """Returns the collectives of a kind along two devices of an axis, or along all four."""
  groups = {'fsdp': {(0, 1), (2, 3)}, 'data': {(0, 2), (1, 3)}, 'all': {(0, 1, 2, 3)}}[axes]
  return [each for each in step[1].collectives if each.kind == kind and set(each.groups) == groups]


def test_a_device_holds_half_of_what_is_divided(step):
  program, made = step
  divided = KERNELS + TRANSFORM + TABLE * WIDTH
  assert made.memory['parameters'] == 4 * (trees.count(program.params) - divided // 2)
  assert made.memory['optimizer'] - 2 * made.memory['parameters'] in range(0, 64)
  # Tokens of 2 bytes, 8 starts, the example's two numbers, and the visit.
  assert made.memory['batch'] == ROWS // 4 * (2 * LENGTH + 4 * 8 + 4 * 2 + 4)
  # Tables of the policy, and what tiles of 8 x 128 add: a few KiB.
  assert 0 < made.memory['policy and padding'] < 2**15


def test_kernels_are_gathered_twice_and_no_oftener(step):
  found = [
    each for each in of_kind(step, 'all-gather', 'fsdp') if 'Encoder.run_layers' in each.operation
  ]
  backward = [each for each in found if 'transpose' in each.operation]
  assert len(found) == 12 and len(backward) == 6
  assert sum(each.bytes for each in found) == 2 * 2 * KERNELS
  # All else that is gathered is of the head and of the embedding.
  others = [each for each in of_kind(step, 'all-gather', 'fsdp') if each not in found]
  assert all('/embeddings/' in each.operation or '/head/' in each.operation for each in others)
  assert not of_kind(step, 'all-gather', 'data') and not of_kind(step, 'all-gather', 'all')


def test_gradients_of_kernels_are_scattered_once_and_then_summed_once(step):
  scattered = [each.bytes for each in of_kind(step, 'reduce-scatter', 'fsdp')]
  assert 2 * (KERNELS + TRANSFORM) in scattered
  # Of them a device has half, which goes over `data`.
  assert KERNELS + TRANSFORM in [each.bytes for each in of_kind(step, 'all-reduce', 'data')]


def test_masking_and_compaction_stay_on_their_device(step):
  names = [each for each in step[1].collectives if each.operation]
  outside = [each for each in names if 'Encoder.' not in each.operation]
  # Sums of the weights and of the metrics: single numbers.
  assert outside and all(each.kind == 'all-reduce' and each.bytes <= 128 for each in outside)
  # Chosen positions are gathered from the rows of their own device, forward and backward.
  assert not [each for each in names if 'take_along_axis' in each.operation]


def test_hidden_rows_are_exchanged_in_the_embedding_alone(step):
  exchanged = [each for each in step[1].collectives if each.kind == 'all-to-all']
  assert all('/embeddings/' in each.operation for each in exchanged)
  # As float32, of a device's own rows.
  assert {each.bytes for each in exchanged} <= {ROWS // 4 * LENGTH * WIDTH * 4}
