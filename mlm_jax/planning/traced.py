"""What a step asks for before it is compiled: its matrix products, and the arrays that it makes."""

from collections.abc import Iterator
import math
from typing import Any

import jax


def flops(jaxpr: Any) -> float:
  """Returns the FLOPs of all matrix products, over all devices: a multiply-add is 2.

  Other than those of models/flops.py they are the program's: with padding, pairs of tokens that do
  not see each other, unused places of the prediction buffer and layers that are computed again.
  Products inside a loop count as often as it turns; of a `while` whose turns are not known, once.
  """
  return float(sum(times * _of_product(each) for each, times in _equations(jaxpr)))


def largest(jaxpr: Any, most: int = 3) -> list[tuple[str, float]]:
  """Returns [(shape and origin, bytes over all devices)] of the largest arrays that are made."""
  found: dict[str, float] = {}
  for equation, _ in _equations(jaxpr):
    for out in equation.outvars:
      if hasattr(out.aval, 'shape') and not jax.dtypes.issubdtype(
        out.aval.dtype, jax.dtypes.prng_key
      ):
        bytes = math.prod(out.aval.shape) * out.aval.dtype.itemsize
        where = str(equation.source_info.name_stack).split('/')[-1]
        found.setdefault(out.aval.str_short() + (f' of {where}' if where else ''), bytes)
  # Of one shape the first: what follows is the same array, or its gradient.
  shapes: dict[str, tuple[str, float]] = {}
  for name, bytes in sorted(found.items(), key=lambda item: -item[1]):
    shapes.setdefault(name.split(' ')[0], (name, bytes))
  return list(shapes.values())[:most]


def _equations(jaxpr: Any, times: int = 1) -> Iterator[tuple[Any, int]]:
  """Yields (equation, how often it is computed) of a jaxpr and of all that lie in it."""
  for equation in getattr(jaxpr, 'jaxpr', jaxpr).eqns:
    yield equation, times
    turns = equation.params['length'] if equation.primitive.name == 'scan' else 1
    for value in equation.params.values():
      for each in value if isinstance(value, tuple | list) else (value,):
        if hasattr(each, 'eqns') or hasattr(getattr(each, 'jaxpr', None), 'eqns'):
          yield from _equations(each, times * turns)


def _of_product(equation: Any) -> float:
  if equation.primitive.name != 'dot_general':
    return 0
  (contracted, _), _ = equation.params['dimension_numbers']
  left = equation.invars[0].aval.shape
  return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
