"""Fast forms of parts of a model, compared with their plain forms: forward, and with the gradient.

  relative positions  shifted blocks, or a gather over all pairs (models/disentangled.py)
  local attention     blocks with their neighbours, or whole rows under a mask
    (models/sliding_window.py)
  replacements        the inverse of the distribution function, or Gumbel noise
    (objectives/replaced_token.py)

Both forms give the same numbers, of replacements the same distribution. The ratio by processor
time is the one to quote.
"""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.benchmarks import clock
from mlm_jax.models import attention
from mlm_jax.models import disentangled
from mlm_jax.models import sliding_window
from mlm_jax.objectives import replaced_token


def add_arguments(parser: argparse.ArgumentParser) -> None:
  number = lambda name, default, text: parser.add_argument(
    f'--{name}', type=int, default=default, help=f'{text} (default {default})'
  )
  number('rows', 8, 'a batch')
  number('heads', 4, 'of attention, of 64 each')
  number('length', 512, 'tokens a row')
  number('window', 128, 'tokens that local attention sees')
  number('vocabulary', 8192, 'ids, rounded up to a multiple of 128')
  number('repetitions', 9, 'turns each gets')


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Prints a table for each part, forward and with the gradient; returns their numbers."""
  print(
    f'{args.rows} rows of {args.length} tokens, {args.heads} heads, on '
    f'{jax.devices()[0].device_kind}'
  )
  found = {}
  for name, (ours, plain), arrays in (_relative(args), _local(args)):
    print()
    forward = {
      f'{name}, {kind}': _forward(function, arrays)
      for kind, function in (('ours', ours), ('plain', plain))
    }
    both = {
      f'{name} and its gradient, {kind}': _gradient(function, arrays)
      for kind, function in (('ours', ours), ('plain', plain))
    }
    for tasks in (forward, both):
      found |= _measure(tasks, args)
  print()
  return found | _measure(_samples(args), args)


def _measure(
  tasks: Mapping[str, Callable[[], Any]], args: argparse.Namespace
) -> dict[str, dict[str, float]]:
  """Prints the table of a part and returns it; the plain form, the last, is the reference."""
  times = clock.take_turns(tasks, args.repetitions)
  found = clock.measured(times, args.rows * args.length / 1e3, 'ktok', list(tasks)[-1])
  print('\n'.join(clock.table(found)))
  return found


def _random(*shape: int, seed: int = 0) -> jax.Array:
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _relative(args: argparse.Namespace) -> tuple[str, tuple[Callable, Callable], tuple]:
  """Returns (name, (ours, plain), arrays) of the scores of queries with relative positions."""
  span, most = args.length // 2, args.length
  row_of = functools.partial(disentangled.row_of_distance, span=span, buckets=(span, most))
  ours, plain = (
    functools.partial(function, row_of=row_of, sign=1)
    for function in (disentangled.scores, disentangled.gathered_scores)
  )
  return (
    'relative positions',
    (ours, plain),
    (_random(args.rows, args.length, args.heads, 64), _random(2 * span, args.heads, 64, seed=1)),
  )


def _local(args: argparse.Namespace) -> tuple[str, tuple[Callable, Callable], tuple]:
  """Returns (name, (ours, plain), arrays) of attention to a window."""
  reach = args.window // 2
  # One document a row: all tokens of a window are visible, the most work that there can be.
  segments_BL = jnp.ones((args.rows, args.length), jnp.int32)
  visible_B1LL = (
    attention.same_document(segments_BL) & sliding_window.near(args.length, reach)[None, None]
  )

  def plain(query_BLHK: jax.Array, key_BLHK: jax.Array, value_BLHK: jax.Array) -> jax.Array:
    weights_BHLL = attention.softmax(
      attention.scores(query_BLHK, key_BLHK), visible_B1LL, value_BLHK.dtype
    )
    return attention.weighted_sum(weights_BHLL, value_BLHK)

  ours = functools.partial(sliding_window.attend, segments_BL=segments_BL, reach=reach)
  return (
    'local attention',
    (ours, plain),
    tuple(_random(args.rows, args.length, args.heads, 64, seed=seed) / 8 for seed in range(3)),
  )


def _samples(args: argparse.Namespace) -> dict[str, Callable[[], Any]]:
  """Returns {name: task} of sampling a token at 15 % of the positions."""
  # As many as a step of replaced-token detection samples.
  predicted = max(1, round(0.15 * args.rows * args.length))
  logits_PV = _random(predicted, -(-args.vocabulary // 128) * 128)
  drawable_V = np.arange(logits_PV.shape[1]) >= 5  # without the special tokens
  sample = lambda key, logits_PV: replaced_token.sample(
    logits_PV, jax.random.uniform(key, (predicted,)), drawable_V
  )
  plain = lambda key, logits_PV: jax.random.categorical(
    key, jnp.where(drawable_V, logits_PV, -jnp.inf)
  )
  arrays = jax.random.key(0), logits_PV
  return {
    'replacements, ours': _forward(sample, arrays),
    'replacements, plain': _forward(plain, arrays),
  }


def _forward(function: Callable, arrays: tuple) -> Callable[[], Any]:
  """Returns a task that runs the function once."""
  function = jax.jit(function)
  return lambda: jax.block_until_ready(function(*arrays))


def _gradient(function: Callable, arrays: tuple) -> Callable[[], Any]:
  """Returns a task that runs the function and its gradient by all arrays once."""
  return _forward(
    # A square before the sum: the gradient of a plain sum would not depend on the values.
    jax.grad(lambda *arrays: (function(*arrays) ** 2).sum(), range(len(arrays))),
    arrays,
  )
