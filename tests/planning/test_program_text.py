"""A compiled program's text: every collective is found once, with its groups, bytes and turns."""

import functools
import textwrap

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np
import pytest

from mlm_jax.planning import program_text
from mlm_jax.planning import traced


def program(*lines, before=''):
  """Returns the text of a program whose entry has these instructions."""
  body = '\n'.join(f'  {each}' for each in lines)
  return f'{textwrap.dedent(before)}\nENTRY %main (p: f32[4]) -> f32[4] {{\n{body}\n}}\n'


@pytest.mark.parametrize(
  'groups, found',
  (
    ('{{0,1},{2,3}}', ((0, 1), (2, 3))),
    ('[2,2]<=[4]', ((0, 1), (2, 3))),
    ('[2,2]<=[2,2]T(1,0)', ((0, 2), (1, 3))),
    ("mesh['a'=2,'b'=2] {'a'}", ((0, 2), (1, 3))),
    ("mesh['a'=2,'b'=2] {'a','b'}", ((0, 2, 1, 3),)),
    ("mesh['a'=2,'b'=1,'c'=2], device_ids=([2,2]T(1,0)) {'a'}", ((0, 1), (2, 3))),
    ('{}', ((0, 1, 2, 3),)),
  ),
)
def test_groups_are_read_in_every_form(groups, found):
  text = program(
    f'%r = bf16[8,4]{{1,0}} all-gather(%p), channel_id=1, replica_groups={groups}, dimensions={{0}}'
  )
  (each,) = program_text.collectives(text, 4)
  assert {frozenset(group) for group in each.groups} == {frozenset(group) for group in found}
  assert each.kind == 'all-gather' and each.bytes == 64
  n = len(found[0])
  assert each.sent == 64 * (n - 1) / n


def test_what_each_kind_sends():
  groups = 'replica_groups={{0,1,2,3}}'
  text = program(
    f'%a = (f32[100]{{0}}, s32[]) all-reduce(%p, %q), channel_id=1, {groups}, to_apply=%add',
    f'%b = f32[25]{{0}} reduce-scatter(%p), channel_id=2, {groups}, to_apply=%add',
    f'%c = pred[100]{{0}} all-to-all(%p), channel_id=3, {groups}, dimensions={{0}}',
    '%d = u16[50]{0} collective-permute(%p), channel_id=4, source_target_pairs={{0,1},{1,0}}',
  )
  found = {each.kind: (each.bytes, each.sent) for each in program_text.collectives(text, 4)}
  assert found == {
    'all-reduce': (404, 2 * 404 * 3 / 4),
    'reduce-scatter': (400, 300),
    'all-to-all': (100, 75),
    'collective-permute': (100, 100),
  }


def test_a_start_and_its_end_are_one():
  text = program(
    '%s = (f32[2]{0}, f32[4]{0}) all-gather-start(%p), channel_id=1, replica_groups={{0,1}}',
    '%e = f32[4]{0} all-gather-done(%s)',
    '%g = (f32[2]{0}, f32[4]{0}, u32[], u32[]) collective-permute-start(%p), channel_id=2, '
    'source_target_pairs={{0,1}}',
  )
  assert [(each.kind, each.bytes) for each in program_text.collectives(text, 2)] == [
    ('all-gather', 16),
    ('collective-permute', 16),
  ]


def test_parts_of_one_in_several_computations_are_one():
  gather = '%g = f32[4]{0} all-gather(%p), channel_id=7, replica_groups={{0,1}}'
  before = f"""
    %start (p: f32[2]) -> f32[4] {{
      {gather}
    }}
    %end (p: f32[2]) -> f32[4] {{
      {gather}
    }}
  """
  text = program('%a = f32[4]{0} fusion(%p), calls=%start', before=before)
  assert len(program_text.collectives(text, 2)) == 1


def test_a_sum_that_is_fused_with_a_cut_is_a_scatter():
  before = """
    %all-reduce-scatter.3 (input: f32[8]) -> f32[4] {
      %all-reduce.1 = f32[8]{0} all-reduce(%input), channel_id=1, replica_groups={{0,1}}
    }
  """
  text = program('%a = f32[4]{0} fusion(%p), calls=%all-reduce-scatter.3', before=before)
  (each,) = program_text.collectives(text, 2)
  assert (each.kind, each.bytes, each.sent) == ('reduce-scatter', 32, 16)


def test_a_loop_turns_up_to_the_constant_of_its_condition():
  # As a TPU's text has it, which does not say how often.
  before = """
    %condition (c: (s32[])) -> pred[] {
      %constant.2 = s32[]{:T(128)} constant(12)
      ROOT %lt = pred[]{:T(512)} compare(%i, %constant.2), direction=LT
    }
    %body (b: (s32[])) -> (s32[]) {
      %a = f32[4]{0} all-reduce(%p), channel_id=1, replica_groups={{0,1}}, to_apply=%add
    }
  """
  text = program('%w = (s32[]) while(%p), condition=%condition, body=%body', before=before)
  (each,) = program_text.collectives(text, 2)
  assert (each.times, each.bytes, each.sent) == (12, 16, 12 * 16)


def test_what_slices_exchange_is_in_their_sends():
  handler = '_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"'
  text = program(
    '%g = f32[8]{0} all-gather(%p), channel_id=1, replica_groups={{0,1}}, dimensions={0}',
    f'%s = (bf16[4,8]{{1,0}}, u32[], token[]) send(%g, %t), channel_id=2, x={{{handler}}}',
    f'%r = (bf16[4,8]{{1,0}}, u32[], token[]) recv(%t), channel_id=3, x={{{handler}}}',
  )
  inside, between = program_text.collectives(text, 4, slices=2)
  assert (inside.kind, inside.groups) == ('all-gather', ((0, 1), (2, 3)))
  assert (between.kind, between.groups) == ('all-reduce', ((0, 2), (1, 3)))
  assert between.bytes == between.sent == 64


def test_groups_of_one_device_send_nothing():
  text = program('%a = f32[4]{0} all-reduce(%p), channel_id=1, replica_groups={{0},{1}}')
  assert program_text.collectives(text, 2) == []


def test_a_real_program_sums_as_often_as_its_loop_turns():
  mesh = jax.make_mesh((2,), ('data',), (jax.sharding.AxisType.Auto,))
  rows, whole = (NamedSharding(mesh, PartitionSpec(*each)) for each in (('data',), ()))

  @functools.partial(jax.jit, in_shardings=(rows, rows), out_shardings=whole)
  def summed(x_BD, y_BD):
    step = lambda total, k: (total + jnp.tanh((x_BD + total.sum()).T @ (y_BD * k)), None)
    return jax.lax.scan(step, jnp.zeros((4, 4)), jnp.arange(5.0))[0]

  x_BD = np.ones((6, 4), np.float32)
  made = summed.trace(x_BD, x_BD)
  text = made.lower().compile().as_text()
  (each,) = program_text.collectives(text, 2)
  assert (each.kind, each.bytes, each.times, each.groups) == ('all-reduce', 64, 5, ((0, 1),))
  assert program_text.has_loops(text)
  assert traced.flops(made.jaxpr) == 5 * 2 * 4 * 4 * 6
  assert traced.largest(made.jaxpr)[0][1] == 6 * 4 * 4
