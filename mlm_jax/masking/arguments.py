"""What a policy is given beside itself: refused in a line where it is of another type or shape.

All that is asked here is known when a program is traced; the values are known on the devices alone.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config
from mlm_jax.core import batches


def check(root_key: Any, batch: Any, progress: Any) -> None:
  """Raises UserError for arguments of `masking.mask_batch` that it cannot take."""
  if not jnp.issubdtype(_dtype(root_key), jax.dtypes.prng_key) or np.shape(root_key):
    raise config.UserError(
      f'root_key is of type {type(root_key).__name__}: give one key, that of '
      'mlm_jax.core.rng.root_key'
    )
  if not isinstance(batch, batches.Batch):
    raise config.UserError(
      f'batch is of type {type(batch).__name__}: give what mlm_jax.core.batches.from_rows returns'
    )
  _check_shapes(batch)
  is_array = jnp.issubdtype(_dtype(progress), jnp.number) and not np.shape(progress)
  is_known = isinstance(progress, int | float)
  if not (is_array or is_known) or is_known and not 0 <= progress <= 1:
    shown = config.one_line(repr(progress))
    raise config.UserError(f'progress = {shown}: must be a number between 0 and 1')


def _dtype(value: Any) -> Any:
  return getattr(value, 'dtype', np.dtype(bool))


def _shape(value: Any) -> tuple[int, ...]:
  return getattr(value, 'shape', ())


def _check_shapes(batch: batches.Batch) -> None:
  """Raises UserError where the arrays of a batch are not what its class says."""
  rows = (_shape(batch.tokens_BL) or (0,))[0]
  for name, wanted in (
    ('tokens_BL', (rows, None)),
    ('starts_BS', (rows, None)),
    ('example_B2', (rows, 2)),
    ('visit_B', (rows,)),
  ):
    array = getattr(batch, name)
    found = _shape(array)
    fits = len(found) == len(wanted) and all(
      size is None or size == there for size, there in zip(wanted, found)
    )
    if not fits or not jnp.issubdtype(_dtype(array), jnp.integer):
      sizes = ', '.join('any' if size is None else str(size) for size in wanted)
      raise config.UserError(
        f'batch.{name} is of shape {found} and type {_dtype(array)}: must be whole numbers of '
        f'shape ({sizes}); mlm_jax.core.batches.from_rows makes a batch of rows of ids'
      )
