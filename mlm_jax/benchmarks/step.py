"""A training step: tokens a second, of ours, transformers (PyTorch) and keras-hub (JAX).

All take turns in one run, each in its own process that is pinned to the same cores.
The ratios come first and are those of a step: on a CPU of processor time, user and
system, over all threads of a process; on an accelerator of wall time. Tokens are positions of
a row, useful tokens those that are not padding; FLOPs are those of the mathematics (see
models/flops.py) for useful tokens; memory is the peak of a process (on a CPU the resident
memory, which includes the compiler's); `first` is the first step, which compiles. A dropout
of .1 is 26/256 in ours.
"""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import importlib.util
import os
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.benchmarks import clock
from mlm_jax.benchmarks import contestants
from mlm_jax.benchmarks import workers

_OURS = 'ours'
_TURN = 1.0  # seconds that a turn lasts at least
# {name: (function that makes its task, packages that it needs)}.
_CONTESTANTS = {
  _OURS: (contestants.ours, ('jax',)),
  'transformers, eager': (contestants.transformers_eager, ('torch', 'transformers')),
  'transformers, compiled': (contestants.transformers_compiled, ('torch', 'transformers')),
  'keras-hub on JAX': (contestants.keras_hub, ('keras', 'keras_hub')),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  number = lambda name, default, text: parser.add_argument(
    f'--{name}',
    type=type(default),
    default=default,
    help=f'{text} (default {default or "by width"})',
  )
  number('layers', 4, 'of the encoder')
  number('width', 256, 'of the encoder')
  number('heads', 0, 'of attention; one for every 64 of the width')
  number('feed-forward', 0, 'inner width; four times the width')
  number('vocabulary', 8192, 'ids')
  number('batch', 32, 'rows a step')
  number('length', 128, 'tokens a row')
  number('documents', 1, 'packed into a row of ours; rows of the others hold one, and padding')
  number('masked', 0.15, 'share of the tokens that is predicted')
  parser.add_argument(
    '--dropout', type=float, nargs='+', default=[0.0, 0.1], help='one or more (default 0 .1)'
  )
  parser.add_argument('--dtype', default='float32', help='of the computation: float32 or bfloat16')
  number('cores', 1, 'of the processor, for each when its turn comes')
  number('repetitions', 9, 'turns each gets')


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Prints, for each dropout, the ratios, then the table; returns their numbers."""
  # All share an accelerator's memory, of which JAX would otherwise take most at its start.
  os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
  shapes = [_shape(args, dropout) for dropout in args.dropout]
  available = (
    sorted(os.sched_getaffinity(0))
    if hasattr(os, 'sched_getaffinity')
    else range(os.cpu_count() or 1)
  )
  if not 1 <= args.cores <= len(available):
    raise config_lib.UserError(
      f'--cores={args.cores}: must be from 1 to the {len(available)} that there are'
    )
  cores = available[-args.cores :]
  names = [
    name for name, (_, needs) in _CONTESTANTS.items() if all(map(importlib.util.find_spec, needs))
  ]
  print(_title(shapes[0], cores))
  found: dict[str, Any] = {'versions': clock.versions()}
  for shape in shapes:
    print(f'\ndropout {shape.dropout:g}')
    try:
      found[f'dropout {shape.dropout:g}'] = _measure(shape, names, cores, args.repetitions)
    except workers.Failed as error:
      raise config_lib.UserError(f'a contestant failed: {error}') from None
  if len(names) < len(_CONTESTANTS):
    print(
      f'\nNot installed: {"; ".join(name for name in _CONTESTANTS if name not in names)}. '
      '`make bench` brings all in an environment of their own.'
    )
  return found


def _shape(args: argparse.Namespace, dropout: float) -> contestants.Shape:
  """Returns the Shape that the flags describe.

  Raises:
    UserError: a flag that cannot work, by itself or with the others.
  """

  def need(name: str, holds: Callable[[int], bool], allowed: str) -> None:
    if not holds(getattr(args, name)):
      raise config_lib.UserError(f'--{name}={getattr(args, name)}: must be {allowed}')

  for name in ('layers', 'width', 'repetitions'):
    need(name, lambda value: value >= 1, 'at least 1')
  # Heads of 64, as BERT has them.
  heads = args.heads or max(1, args.width // 64)
  need('width', lambda width: heads > 0 and width % heads == 0, f'a multiple of the {heads} heads')
  need('vocabulary', lambda size: size >= 300, 'at least 300')
  most = args.length // 8
  need(
    'documents',
    lambda count: 1 <= count <= most,
    f'from 1 to {most}, an eighth of --length={args.length}',
  )
  values = vars(args) | {
    'heads': heads,
    'dropout': dropout,
    'feed_forward': args.feed_forward or 4 * args.width,
  }
  names = [field.name for field in dataclasses.fields(contestants.Shape)]
  shape = contestants.Shape(**{name: values[name] for name in names})
  config_lib.check(shape.config)  # refuses the rest
  return shape


def _title(shape: contestants.Shape, cores: Sequence[int]) -> str:
  versions = [f'{name} {version}' for name, version in clock.versions().items()]
  packed = f"{shape.documents} documents in a row of ours, one in the others'; " * (
    shape.documents > 1
  )
  return (
    f'{shape.layers} layers x {shape.width}, {shape.heads} heads, feed-forward '
    f'{shape.feed_forward}; '
    f'{shape.batch} rows of {shape.length} tokens, {shape.vocabulary} ids, {shape.masked:g} '
    'masked, '
    f'{shape.dtype}\n{packed}pinned to {len(cores)} core{"s" * (len(cores) > 1)}, '
    f'load {os.getloadavg()[0]:.1f}; {", ".join(versions)}'
  )


def _measure(
  shape: contestants.Shape, names: Sequence[str], cores: Sequence[int], repetitions: int
) -> dict[str, dict[str, float]]:
  """Measures one dropout, prints the result and returns it."""
  team, failed = {}, {}
  try:
    for name in names:
      try:
        team[name] = workers.Worker(_CONTESTANTS[name][0], (shape,), cores)
      except workers.Failed as error:
        # Without ours there is no ratio to print; without another there are the rest.
        if name == _OURS:
          raise
        failed[name] = error
    times = clock.take_turns(
      team, repetitions, turn=_TURN, timer=lambda worker, calls: worker.time(calls)
    )
    memory = {name: worker.do(contestants.peak_memory) for name, worker in team.items()}
    first = {name: worker.first_seconds for name, worker in team.items()}
  finally:
    for worker in team.values():
      worker.close()
  found = measured(shape, times, memory, first)
  lines = [f'{name}: not measured ({reason})' for name, reason in failed.items()]
  print('\n'.join([*report(found), *lines]))
  return found


def measured(
  shape: contestants.Shape,
  times: Mapping[str, clock.Times],
  memory: Mapping[str, float],
  first: Mapping[str, float],
) -> dict[str, dict[str, float]]:
  """Returns {name: {what: number}}, how many times faster ours is among them.

  Args:
    shape: contestants.Shape.
    times: {name: clock.Times} a step.
    memory: {name: MB}.
    first: {name: seconds of the first step}.
  """
  by_processor = jax.default_backend() == 'cpu'
  second = 'processor-s' if by_processor else 's'
  spent = {name: each.processor_R if by_processor else each.wall_R for name, each in times.items()}
  found = {}
  for name, spent_R in spent.items():
    # The others' rows have one document, so fewer of their tokens are useful.
    documents = shape.documents if name == _OURS else 1
    seconds, tokens = float(np.median(spent_R)), shape.batch * shape.length
    found[name] = {
      'ours is faster by': clock.ratio(spent_R, spent[_OURS]),
      f'ktok/{second}': tokens / seconds / 1e3,
      f'useful/{second}': tokens * documents / shape.documents / seconds / 1e3,
      f'GFLOP/{second}': shape.model_flops(documents) / seconds / 1e9,
      'ktok/s, wall': tokens / float(np.median(times[name].wall_R)) / 1e3,
      'memory, MB': memory[name],
      'first, s': first[name],
    }
  return found


def report(found: Mapping[str, Mapping[str, float]]) -> list[str]:
  """Returns lines: how many times faster ours is, then the other numbers of each."""
  ratio, *heads = found[_OURS]
  lines = [
    f'ours / {name}: {numbers[ratio]:.2f}' for name, numbers in found.items() if name != _OURS
  ]
  width = max(map(len, found))
  lines.append(' ' * width + ''.join(f'{head:>20}' for head in heads))
  for name, numbers in found.items():
    lines.append(f'{name:<{width}}' + ''.join(f'{numbers[head]:>20.4g}' for head in heads))
  return lines
