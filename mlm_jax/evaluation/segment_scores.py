"""Held-out scores by segment, segment_scores.npz in a finished run's folder.

A segment is one document's part of a row: the whole document, or a piece of one that is longer than
a row. The scores are those under the reference masks, which are the same for all runs on the same
data, so that two runs are compared on each text (see report/text_interval.py).
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import files

FILE = 'segment_scores.npz'

# Of a batch: (examples [B, 2], sums [3, B, S] of tokens, losses and hits).
Sums = tuple[jax.Array, jax.Array]


@dataclasses.dataclass(frozen=True)
class SegmentScores:
  """Sums over the masked tokens of N segments, those without one left out.

  Attributes:
    step: of the run, an array without axes.
    source_N, row_N: int32, the row; its number is that in the held-out rows of the source.
    segment_N: int32, the segment in its row, from 1.
    tokens_N: int32, masked tokens.
    loss_N: float32, the sum of their losses, nats.
    hits_N: int32, how many were predicted right.
  """

  step: np.ndarray
  source_N: np.ndarray
  row_N: np.ndarray
  segment_N: np.ndarray
  tokens_N: np.ndarray
  loss_N: np.ndarray
  hits_N: np.ndarray


def sums(
  values_3P: jax.Array, used_P: jax.Array, index_GP: jax.Array, segments_BL: jax.Array, size: int
) -> jax.Array:
  """Returns float32 [3, B, S]: sums of values over the predictions in each segment.

  Args:
    values_3P: of the predictions of all groups.
    used_P: where there is one.
    index_GP: their places in a group's rows, which lie end to end.
    segments_BL: the number of each token's segment from 1, 0 for padding.
    size: S, segments of a row at most.
  """
  G, P = index_GP.shape
  B, L = segments_BL.shape
  group_P = jnp.repeat(jnp.arange(G), P)
  # An unused place is out of bounds, where nothing is written. Each place is written once, so it
  # is no scatter in which accelerators add in an order that is not fixed.
  place_P = jnp.where(used_P, group_P * (B * L // G) + index_GP.reshape(-1), B * L)
  flat_3R = jnp.zeros((3, B * L)).at[:, place_P].set(values_3P, mode='drop')
  is_of_BSL = segments_BL[:, None] == jnp.arange(1, size + 1)[None, :, None]
  return jnp.where(is_of_BSL[None], flat_3R.reshape(3, B, 1, L), 0).sum(-1)


def collect(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
  """Returns the arrays of SegmentScores but for the step, from the Sums of all batches."""
  example_R2 = np.concatenate([example_B2 for example_B2, _ in parts])
  tokens_RS, loss_RS, hits_RS = np.concatenate([sums_3BS for _, sums_3BS in parts], axis=1)
  r_N, s_N = np.nonzero(tokens_RS)
  return {
    'source_N': example_R2[r_N, 0].astype(np.int32),
    'row_N': example_R2[r_N, 1].astype(np.int32),
    'segment_N': (s_N + 1).astype(np.int32),
    'tokens_N': tokens_RS[r_N, s_N].astype(np.int32),
    'loss_N': loss_RS[r_N, s_N].astype(np.float32),
    'hits_N': hits_RS[r_N, s_N].astype(np.int32),
  }


def read(workdir: str | os.PathLike[str], step: int) -> SegmentScores | None:
  """Returns the scores of a run at a step, None where there are none.

  Raises:
    UserError: the file is damaged.
  """
  path = pathlib.Path(workdir) / FILE
  if not path.exists():
    return None
  try:
    found = files.read_arrays(SegmentScores, path.read_bytes())
    lengths = {len(array) for name, array in vars(found).items() if name != 'step'}
    if len(lengths) > 1:
      raise ValueError('its arrays differ in length')
    # Of another step they are of an earlier end of the run.
    return found if int(found.step) == step else None
  except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise config_lib.UserError(
      f'{path} is damaged ({error!r}); without it, reports have no interval over the text'
    ) from None
