"""A plan: what would be trained is compiled, its numbers are those of the run, and nothing runs."""

import importlib.util
import json

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.core import trees
from mlm_jax.models import flops as flops_lib
from mlm_jax.planning import compiled as compiled_lib
from mlm_jax.planning import devices
from mlm_jax.planning import plan
from mlm_jax.planning import predicted
from mlm_jax.planning import programs
from mlm_jax.planning import topologies
from mlm_jax.training import sharding
from tests import toys
from tests.cli.test_main import call

LIBTPU = importlib.util.find_spec('libtpu') is not None
RECIPE = """
from tests import toys


def get_config(variant=None):
  return toys.config(model__width=64, data__vocab_size=300)
"""


def here(kind='tpu:v5e', groups=1):
  """Returns the test's own devices as a topology."""
  return topologies.Topology('here', kind, jax.devices(), groups)


@pytest.fixture
def recipe(tmp_path):
  path = tmp_path / 'recipe.py'
  path.write_text(RECIPE)
  return path


def programs_of(**settings):
  config = toys.config(**settings)
  mesh = plan.check(config, here())
  return mesh, list(programs.of(config, mesh))


def test_every_device_has_its_published_numbers():
  for kind, each in devices.DEVICES.items():
    assert each.flops > 1e14 and each.memory > 1e10 and each.source
    # As in every machine: the memory is faster than the links, those are faster than the network.
    assert each.bandwidth > each.links > each.network, kind


def test_each_stage_is_a_program_and_so_is_each_evaluation():
  stages = ({'steps': 4, 'data.row_length': 8, 'batch_size': 16}, {'steps': 2})
  _, made = programs_of(stages=stages)
  assert [(each.trains, each.times, each.batch.tokens_BL.shape) for each in made] == [
    (True, 4, (16, 8)),
    (True, 2, (8, 16)),
    # Two evaluations of 16 rows, 8 at once.
    (False, 4, (8, 16)),
    (False, 4, (8, 16)),
  ]


def test_a_state_lies_where_training_puts_it():
  _, (program, *_) = programs_of(mesh__fsdp=2)
  places = {path: x for path, x in trees.paths(program.state).items() if path.endswith('in/kernel')}
  # The parameters, and Adam's two moments.
  assert len({x.shape for x in places.values()}) == 1 and len(places) % 3 == 0
  for x in places.values():
    assert x.sharding.spec[-2:] == ('fsdp', 'tensor')


def test_useful_flops_are_those_of_rows_of_so_many_documents():
  _, (program, _, evaluation) = programs_of()
  architecture = program.objective.encoder.architecture
  # 8 rows of two documents of 8 tokens, of which 6 may be masked.
  expected = flops_lib.training(architecture, 128, 8 * 2 * 8**2, 8 * 2 * 6 * 0.15)
  assert predicted.useful_flops(program, 2) == pytest.approx(expected, rel=1e-6)
  assert predicted.useful_flops(evaluation, 2) == pytest.approx(expected / 3, rel=1e-6)


def test_theory_asks_for_the_gradient_twice():
  _, (program, *_) = programs_of()
  count = trees.count(program.params)
  assert predicted.asked(program, _mesh(program)) == {'data': 2 * (1 / 2) * 4 * count}


def test_theory_gathers_twice_and_scatters_once():
  mesh, (program, *_) = programs_of(mesh__fsdp=2, model__dtype='bfloat16')
  paths = trees.paths(program.params)
  divided = sum(x.size for x in paths.values() if x.sharding.shard_shape(x.shape) != x.shape)
  whole = trees.count(program.params) - divided
  # In 2 bytes a number, half of which each of two devices has itself.
  expected = {'fsdp': 2 * (1 / 2) * (3 * divided + 2 * whole)}
  assert predicted.asked(program, mesh) == pytest.approx(expected)
  # Each micro-batch gathers anew.
  mesh, (program, *_) = programs_of(
    mesh__fsdp=2, model__dtype='bfloat16', grad_accumulation_steps=2
  )
  expected = {'fsdp': 2 * (1 / 2) * (5 * divided + 2 * whole)}
  assert predicted.asked(program, mesh) == pytest.approx(expected)


def _mesh(program):
  return program.batch.tokens_BL.sharding.mesh


def test_the_slowest_of_three_binds():
  made = compiled_lib.Compiled(
    memory={}, asked_flops=2 * 197e12, counted_flops=1.0, bytes_moved=819e9 / 2,
    is_bytes_known=True, has_loops=False, sent=(), collectives=(),
  )  # fmt: skip
  times = predicted.times(made, devices.DEVICES['tpu:v5e'], 2)
  assert (times.compute, times.memory, times.network) == pytest.approx((1, 0.5, 0))
  assert times.binds == 'compute' and times.step == times.compute


def test_what_crosses_slices_is_sent_by_the_slow_network():
  sent = compiled_lib.Sent('all-reduce', ('data',), 1, 0, 25e9, True, ('', 0, ''))
  made = compiled_lib.Compiled({}, 0, None, 0, True, False, (sent,), ())
  times = predicted.times(made, devices.DEVICES['tpu:v5e'], 2)
  assert times.network == pytest.approx(8) and times.binds == 'network'


def test_axes_are_told_by_the_groups():
  mesh = jax.sharding.Mesh(np.array(jax.devices() * 4).reshape(2, 2, 2), sharding.AXES)
  named = compiled_lib._axes(mesh, 1)
  groups = lambda *those: frozenset(frozenset(each) for each in those)
  assert named[groups((0, 4), (1, 5), (2, 6), (3, 7))] == ('data',)
  assert named[groups((0, 2), (1, 3), (4, 6), (5, 7))] == ('fsdp',)
  assert named[groups((0, 2, 4, 6), (1, 3, 5, 7))] == ('data', 'fsdp')
  assert named[groups(range(8))] == ('data', 'fsdp', 'tensor')
  # Of two slices with two parts of the rows each: within them, between them, and over all.
  mesh = jax.sharding.Mesh(np.array(jax.devices() * 4).reshape(4, 2, 1), sharding.AXES)
  named = compiled_lib._axes(mesh, 2)
  assert named[groups((0, 2), (1, 3), (4, 6), (5, 7))] == ('data',)
  assert named[groups((0, 4), (1, 5), (2, 6), (3, 7))] == ('data',)
  assert named[groups((0, 2, 4, 6), (1, 3, 5, 7))] == ('data',)
  assert named[groups((0, 1, 2, 3), (4, 5, 6, 7))] == ('data', 'fsdp')


@pytest.mark.slow
def test_a_plan_is_told_and_written_and_compiles_what_trains(capsys, monkeypatch, recipe, tmp_path):
  monkeypatch.setattr(topologies, 'find', lambda name: here())
  out = tmp_path / 'plan.json'
  status, text, _ = call(
    capsys, 'plan', f'--config={recipe}', '--topology=here', '--price=2', f'--out={out}'
  )
  assert status == 0
  found = json.loads(out.read_text())
  training, *evaluations = found['steps']
  assert len(evaluations) == 2 and found['mesh'] == {'data': 2, 'fsdp': 1, 'tensor': 1}
  state = training['memory']
  # Adam's two moments.
  assert state['optimizer'] - 2 * state['parameters'] in range(0, 64)
  assert training['counted_flops_of_a_device'] > training['useful_flops'] / 2
  assert training['product_flops'] > training['useful_flops']
  (asked,) = training['asked_to_send'].values()
  sums = [each for each in training['collectives'] if each['kind'] == 'all-reduce']
  # The gradient and the few numbers of the metrics; of the token table once more at the most, since
  # both its uses, in the embedding and in the head, have a gradient.
  table = 384 * 64 * 4
  assert asked <= sum(each['sent'] for each in sums) <= asked + table + 200
  assert found['cost'] == pytest.approx(2 * found['device_hours'])
  assert f'{training["binds"]} binds' in text and 'at 2 an hour' in text
  # Nothing else is written, but for what Python keeps of recipe.py.
  assert {each.name for each in tmp_path.iterdir()} - {'__pycache__'} == {'plan.json', 'recipe.py'}


@pytest.mark.slow
def test_what_does_not_fit_is_told_in_one_line():
  mesh, (program, *_) = programs_of()
  with pytest.raises(compiled_lib.DoesNotFit) as raised:
    compiled_lib.of(program, mesh, 1, memory=1000)
  text = str(raised.value)
  assert '\n' not in text and 'largest arrays, evenly shared out: float32[' in text
  assert '--config.grad_accumulation_steps=2 or --config.model.remat=True' in text


@pytest.mark.parametrize(
  'flags, says',
  (
    (('--topology=tpu:v9:2x2',), 'there is none; there are tpu:v5e'),
    (('--topology=gpu:h100:9',), 'must say 1 to 8 devices of a node'),
    (('--topology=tpu:v5e:0x4',), 'has 0 devices'),
    ((f'--topology=tpu:v5e:{"9" * 5000}',), 'there is none; there are'),
    (('--topology=gpu:h100:8',), "is not installed: pip install 'mlm_jax[cuda]'"),
    (('--topology=tpu:v5e:2x2',), "is not installed: pip install 'mlm_jax[tpu]'"),
    (('--topology=tpu:v5e:2x2', '--price=-1'), '--price=-1.0: must be at least 0'),
    (('--topology=tpu:v5e:2x2', '--out=no/plan.json'), 'there is no folder no'),
  ),
)
def test_a_wrong_topology_is_refused_in_one_line(capsys, monkeypatch, recipe, flags, says):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  status, out, err = call(capsys, 'plan', f'--config={recipe}', *flags)
  assert status == 2 and not out and err.count('\n') == 1 and says in err


@pytest.mark.parametrize(
  'flags, says',
  (
    (('--config.mesh.data=3',), '3 x 1 x 1 = 3 does not make up the 2 devices'),
    (('--config.mesh.devices=1',), 'a plan is for all 2 devices'),
    (('--config.data.tokenizer=absent.model',), '--config.model.vocab_size=N'),
    (('--documents=99',), '--documents=99: must be from 1 to config.data.max_segments = 8'),
    (('--documents=nan',), '--documents=nan: must be from 1'),
  ),
)
def test_a_config_that_cannot_be_planned_is_refused(capsys, monkeypatch, recipe, flags, says):
  monkeypatch.setattr(topologies, 'find', lambda name: here())
  status, out, err = call(capsys, 'plan', f'--config={recipe}', '--topology=here', *flags)
  assert status == 2 and not out and err.count('\n') == 1 and says in err


def test_fine_tuning_is_refused(capsys):
  status, _, err = call(capsys, 'plan', '--config=finetune/similarity', '--topology=tpu:v5e:2x2')
  assert status == 2 and 'is of pretraining' in err


@pytest.mark.skipif(not LIBTPU, reason='needs the extra tpu (libtpu)')
def test_what_the_library_cannot_describe_is_refused():
  with pytest.raises(config_lib.UserError, match='v5e:3x5.*cannot describe it'):
    topologies.find('tpu:v5e:3x5')


@pytest.mark.skipif(not LIBTPU, reason='needs the extra tpu (libtpu)')
def test_slices_share_out_the_rows_and_not_the_model():
  topology = topologies.find('tpu:v5e:2x2:2')
  mesh = sharding.make_mesh(toys.config(mesh__fsdp=4).mesh, topology.devices)
  assert mesh.devices.shape == (2, 4, 1)
  assert [{each.slice_index for each in row.flat} for row in mesh.devices] == [{0}, {1}]
  with pytest.raises(config_lib.UserError, match='data = 1: must be a multiple of the 2 slices'):
    sharding.make_mesh(toys.config(mesh__fsdp=8).mesh, topology.devices)
