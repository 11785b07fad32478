"""Which units are preferred: a weight for each token.

A unit weighs as its heaviest token, and is chosen with probability min(1, c weight), c
such that the expected number of tokens is the row's budget (see `draw.inclusion`).

  uniform    all weigh the same.
  frequency  a piece weighs (count + 1) to minus a power.
  content    the most frequent pieces, which make up half of the text (function words and
             punctuation, on the whole), weigh `function_weight`, the others 1. No tagger.
  class      a token weighs as the class of its word; fixed, or by the running loss.
  accuracy   a piece weighs by how often it was guessed wrong lately.
  module:Class  a class of yours: Class(table).weights(row) -> weight_L, row a `Row`, under jax.jit;
             what is negative, below 1e-30 or not a number counts as 0.

Weights that are computed on the device are rounded to steps of 2**-12 of the largest, at
least one: sums and powers end in other digits from one processor to the next.
"""

import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.masking import adaptive

_STEPS = 2.0**12
_LEAST, _LARGEST = 1e-30, 1e30  # weight of a unit of one's own: the inverse must be a float32 too


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


def piece_weights(selection, table, masking):
  """Returns float32 weight_V of each piece, where the weight is the piece's alone, else None."""
  counts_V = np.asarray(table.counts_V, np.float64)
  if selection == 'frequency':
    weight_V = (counts_V + 1) ** -float(masking.frequency_power)
    return (weight_V / weight_V.max()).astype(np.float32)
  if selection == 'content':
    return np.where(_frequent(table, counts_V), masking.function_weight, 1).astype(np.float32)
  return None


def _frequent(table, counts_V):
  """Returns bool_V: the fewest ordinary pieces that make up half of the text."""
  counts_V = counts_V.copy()
  counts_V[list(table.special_ids)] = 0
  order = np.argsort(-counts_V, kind='stable')
  before = np.cumsum(counts_V[order]) - counts_V[order]
  frequent_V = np.zeros(table.size, bool)
  frequent_V[order] = before < counts_V.sum() / 2
  return frequent_V


def class_weights(masking, table):
  """Returns float32 weight_C from the config, None where it names none; class 0 gets their mean.

  Raises:
    UserError: not one weight for each class.
  """
  given = tuple(masking.class_weights)
  if not given:
    return None
  if len(given) != len(table.classes):
    raise config_lib.UserError(
      f'masking.class_weights has {len(given)} weights, the data has '
      f'{len(table.classes)} classes: {", ".join(table.classes)}'
    )
  return np.array([np.mean(given), *given], np.float32)


def weights(policy, batch, units_BL):
  """Returns float32 weight_BL of each token, not negative; None where all weigh the same."""
  tokens_BL = batch.tokens_BL
  if policy.selection == 'uniform':
    return None
  if policy.selection in ('frequency', 'content'):
    return jnp.asarray(policy.weight_V)[tokens_BL]
  if policy.selection == 'accuracy':
    return _rounded(policy.adapted['weight_V'])[tokens_BL]
  classes_BL = (
    batch.classes_BL if batch.classes_BL is not None else jnp.zeros(tokens_BL.shape, jnp.uint8)
  )
  if policy.selection == 'class':
    weight_C = (
      policy.weight_C if policy.weight_C is not None else adaptive.class_weights(policy.adapted)
    )
    return _rounded(weight_C)[classes_BL]
  own = load(policy.selection)(policy.table)
  weigh = lambda *row: jnp.asarray(own.weights(Row(*row))).astype(jnp.float32)
  weight_BL = jax.vmap(weigh)(tokens_BL.astype(jnp.int32), units_BL, classes_BL)
  weight_BL = jnp.where(
    (weight_BL >= _LEAST) & (units_BL >= 0), jnp.minimum(weight_BL, _LARGEST), 0
  )
  return _rounded(weight_BL)


def _rounded(weight_N):
  """Returns weights from 2**-12 to 1, in steps of 2**-12 of the largest (of the last axis); 0 stays
  0.
  """
  weight_N = jnp.asarray(weight_N)
  steps_N = jnp.round(weight_N / weight_N.max(axis=-1, keepdims=True) * _STEPS)
  return jnp.where(weight_N > 0, jnp.maximum(steps_N, 1), 0) / _STEPS


@functools.lru_cache
def load(spec):
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


def check_own(spec, table, length):
  """Raises UserError where what 'module:Class' names gives not a weight for each token of such a
  row.

  Args:
    spec, table: what `masking.make` is given.
    length: tokens a row.
  """
  found = load(spec)
  words = jax.ShapeDtypeStruct((length,), jnp.int32)
  row = Row(words, words, jax.ShapeDtypeStruct((length,), jnp.uint8))
  name = f'config.masking.selection = {spec!r}: of a row of {length} tokens'
  try:
    given = jax.eval_shape(lambda table, row: jnp.asarray(found(table).weights(row)), table, row)
  except Exception as error:  # somebody's class may raise anything
    raise config_lib.UserError(f'{name}: {config_lib.error_text(error)}') from error
  if given.shape != (length,) or given.dtype.kind not in 'fiub':
    raise config_lib.UserError(
      f'{name}, weights(row) gave {given.dtype}{list(given.shape)} instead of one number a token'
    )
