"""A researcher's own selection: masking.selection = 'module:Class'."""

import dataclasses
import functools
import typing
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax import config as config_lib
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import selections

_LEAST, _LARGEST = 1e-30, 1e30  # weight of a unit: the inverse must be a float32 too


class Row(typing.NamedTuple):
  """What a researcher's own selection is given of one row, L tokens long.

  Attributes:
    tokens_L: int32 ids.
    units_L: int32, the position of the first token of each token's unit; -1 = no unit.
    classes_L: uint8, classes of words; zeros where the data has none.
  """

  tokens_L: jax.Array
  units_L: jax.Array
  classes_L: jax.Array


@trees.dataclass
class Own(selections.Selection):
  """Weighs as somebody's Class(table).weights(row) -> weight_L says, row a `Row`, under jax.jit.

  What is negative, below 1e-30 or not a number counts as 0.

  Attributes:
    spec: 'module:Class'.
  """

  spec: str = dataclasses.field(metadata={'static': True})

  def weights(self, table, batch, units_BL) -> jax.Array:
    own = _load(self.spec)(table)
    weigh = lambda *row: jnp.asarray(own.weights(Row(*row))).astype(jnp.float32)
    weight_BL = jax.vmap(weigh)(
      batch.tokens_BL.astype(jnp.int32), units_BL, selections.classes(batch)
    )
    weight_BL = jnp.where(
      (weight_BL >= _LEAST) & (units_BL >= 0), jnp.minimum(weight_BL, _LARGEST), 0
    )
    return selections.rounded(weight_BL)


def make(spec: str, table: vocabulary.Table, length: int) -> Own:
  """Returns the selection that 'module:Class' names, tried on a row.

  Args:
    spec, table: what `masking.make` is given.
    length: tokens of the row.

  Raises:
    UserError: it does not give a weight for each token of such a row.
  """
  found = _load(spec)
  words: Any = jax.ShapeDtypeStruct((length,), jnp.int32)
  classes: Any = jax.ShapeDtypeStruct((length,), jnp.uint8)
  row = Row(words, words, classes)
  name = f'config.masking.selection = {spec!r}: of a row of {length} tokens'
  try:
    given = jax.eval_shape(lambda table, row: jnp.asarray(found(table).weights(row)), table, row)
  except Exception as error:  # somebody's class may raise anything
    raise config_lib.UserError(f'{name}: {config_lib.error_text(error)}') from error
  if given.shape != (length,) or given.dtype.kind not in 'fiub':
    raise config_lib.UserError(
      f'{name}, weights(row) gave {given.dtype}{list(given.shape)} instead of one number a token'
    )
  return Own(spec)


@functools.lru_cache
def _load(spec):
  """Returns the class that 'module:Class' names.

  Raises:
    UserError: it cannot be imported, or has no method `weights`.
  """
  found = config_lib.imported('masking.selection', spec)
  if not callable(getattr(found, 'weights', None)):
    raise config_lib.UserError(
      f'config.masking.selection = {spec!r}: it must have a method weights(row) -> '
      'weights of the tokens'
    )
  return found
