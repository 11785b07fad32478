"""A plan as lines for a person, and as numbers for a program."""

from collections.abc import Iterator
import dataclasses
import datetime
from typing import Any

from mlm_jax.planning import plan as plan_lib
from mlm_jax.planning import predicted


def lines(plan: plan_lib.Plan, price: float | None = None) -> Iterator[str]:
  """Yields the lines of a plan; `price` is that of a device's hour."""
  device = plan.topology.device
  axes = ' x '.join(f'{name} {size}' for name, size in plan.mesh.items())
  yield f'{plan.topology.name}: {len(plan.topology.devices)} of {device.kind} ({axes})'
  yield (
    f'  each {_bytes(device.memory)}, {device.flops / 1e12:.4g} TFLOP/s in bfloat16, '
    f'{device.bandwidth / 1e9:.4g} GB/s of memory, {device.links / 1e9:.4g} GB/s sent to the '
    f'others of a {_group(plan)}, {device.network / 1e9:.4g} GB/s beyond ({device.source})'
  )
  for step in plan.steps:
    yield from _of_a_step(step, plan)
  yield from _of_the_run(plan, price)


def numbers(plan: plan_lib.Plan, price: float | None = None) -> dict[str, Any]:
  """Returns a plan as what JSON can hold."""
  device = plan.topology.device
  return {
    'topology': plan.topology.name,
    'devices': len(plan.topology.devices),
    'mesh': plan.mesh,
    'device': dataclasses.asdict(device) | {'flops': device.flops},
    'documents_a_row': plan.documents,
    'steps': [_numbers(each, plan) for each in plan.steps],
    'seconds': plan.seconds,
    'device_hours': plan.device_hours,
    'price_of_an_hour': price,
    'cost': None if price is None else price * plan.device_hours,
  }


def _numbers(step: plan_lib.Step, plan: plan_lib.Plan) -> dict[str, Any]:
  made, program = step.compiled, step.program
  return {
    'name': program.name,
    'stage': program.stage,
    'times': program.times,
    'rows': program.batch_size,
    'row_length': program.config.data.row_length,
    'grad_accumulation_steps': program.config.grad_accumulation_steps if program.trains else 1,
    'memory': dict(made.memory),
    'memory_of_a_device': plan.topology.device.memory,
    'useful_flops': step.useful_flops,
    'product_flops': made.asked_flops,
    'counted_flops_of_a_device': made.counted_flops,
    'has_loops': made.has_loops,
    'bytes_moved': made.bytes_moved,
    'is_bytes_moved_known': made.is_bytes_known,
    'collectives': [dataclasses.asdict(each) for each in made.sent],
    'asked_to_send': step.asked,
    'seconds': dataclasses.asdict(step.times) | {'step': step.times.step},
    'binds': step.times.binds,
    'tokens_a_second': step.tokens / step.times.step,
  }


def _of_a_step(step: plan_lib.Step, plan: plan_lib.Plan) -> Iterator[str]:
  made, program, times = step.compiled, step.program, step.times
  yield f'{program.name}: {predicted.summary(program)}'
  total = sum(made.memory.values())
  kinds = ', '.join(f'{kind} {_bytes(size)}' for kind, size in made.memory.items())
  yield f'  memory of a device: {_bytes(total)} of {_bytes(plan.topology.device.memory)} ({kinds})'
  counted = ''
  if made.counted_flops is not None:
    once = ', loops once' if made.has_loops else ''
    counted = f'; compiled {made.counted_flops:.3g} on each device{once}'
  yield (
    f'  FLOPs: useful {step.useful_flops:.3g}, of all matrix products {made.asked_flops:.3g}'
    f'{counted}'
  )
  least = '' if made.is_bytes_known else 'at least '
  yield f'  bytes to and from the memory of a device: {least}{_bytes(made.bytes_moved)}'
  yield from _of_the_network(step)
  yield (
    f'  at the least: compute {_time(times.compute)}, memory {_time(times.memory)}, network '
    f'{_time(times.network)}: {times.binds} binds; a step {_time(times.step)}, '
    f'{step.tokens / times.step:,.0f} tokens/s, useful '
    f'{_share(step.useful_flops, times.step, plan)} of the peak'
  )


def _of_the_network(step: plan_lib.Step) -> Iterator[str]:
  """Yields what a device sends, beside what theory asks for."""
  if not (step.asked or step.compiled.sent):
    return
  found = sum(each.sent for each in step.compiled.sent)
  asked = ', '.join(f'{_bytes(bytes)} along {axis}' for axis, bytes in step.asked.items())
  yield (
    f'  a device sends {_bytes(found)}; theory asks for {asked or "nothing"}, in '
    f'{step.program.config.model.dtype}'
  )
  for each in step.compiled.sent:
    arrays, bytes, operation = each.largest
    where = f' for {operation}' if operation else ''
    yield (
      f'    {each.count} {each.kind} along {" and ".join(each.axes) or "other groups"}'
      f'{", between slices or nodes" if each.crosses else ""}: {_bytes(each.bytes)}, sends '
      f'{_bytes(each.sent)}; the largest {_bytes(bytes)}, {arrays}{where}'
    )


def _of_the_run(plan: plan_lib.Plan, price: float | None) -> Iterator[str]:
  config = plan.config
  yield (
    f'in all {config.total_steps:,} steps: at the least {_long(plan.seconds)}, '
    f'{plan.device_hours:,.4g} device-hours'
    + ('' if price is None else f', {price * plan.device_hours:,.4g} at {price:g} an hour')
    + ', with evaluations, without saves, compilation and the wait for data'
  )
  if not config.evaluation.rows:
    yield '  evaluations are not counted: config.evaluation.rows = 0, and how many is not known'
  yield (
    f'  rows are taken to be full, of {plan.documents:g} documents each (--documents), and the '
    'published rates to be reached: how far they are only a device can say'
  )


def _group(plan: plan_lib.Plan) -> str:
  return 'slice' if plan.topology.kind.startswith('tpu') else 'node'


def _share(flops: float, seconds: float, plan: plan_lib.Plan) -> str:
  peak = plan.topology.device.flops * len(plan.topology.devices)
  return f'{100 * flops / seconds / peak:.3g} %'


def _bytes(number: float) -> str:
  """Returns a number of bytes as a person reads it."""
  for unit, name in ((2**30, 'GiB'), (2**20, 'MiB'), (2**10, 'KiB')):
    if number >= unit:
      return f'{number / unit:.3g} {name}'
  return f'{number:.0f} bytes'


def _time(seconds: float) -> str:
  return f'{seconds:.3g} s' if seconds >= 1 else f'{seconds * 1e3:.3g} ms'


def _long(seconds: float) -> str:
  return str(datetime.timedelta(seconds=round(seconds))) if seconds >= 60 else f'{seconds:.2g} s'
