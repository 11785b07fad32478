"""Rows of new pieces in the tables of a trained model: each the mean of those of its parts."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import objectives
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.training import saved


@dataclasses.dataclass(frozen=True)
class NewRows:
  """New pieces: the id of the first one, and the ids of the parts of each."""

  first_id: int
  parts: Sequence[Sequence[int]]

  def put(self, model: saved.SavedModel, vocab_size: int) -> dict[str, Any]:
    """Returns the parameters of a model with the new rows.

    In each table of tokens: of embeddings, of an output layer of its own, and of output biases.

    Args:
      model: of the tokenizer without these pieces.
      vocab_size: rows that the tables are to have; 0 for as many as there are pieces.
    """
    size = vocab_size or self.first_id + len(self.parts)
    wanted = trees.paths(_shapes(model.config, size))
    # A table of tokens is what has more rows where there are more pieces.
    larger = trees.paths(_shapes(model.config, 2 * size + 1000))
    of_tokens = {path for path, leaf in wanted.items() if leaf.shape != larger[path].shape}

    def grown(keys: Any, table: jax.Array) -> jax.Array:
      path = '/'.join(each.key for each in keys)
      return self._grown(table, wanted[path].shape[0]) if path in of_tokens else table

    return jax.tree_util.tree_map_with_path(grown, model.params)

  def _grown(self, table: jax.Array, rows: int) -> jax.Array:
    old = np.asarray(table)
    new = np.zeros((rows, *old.shape[1:]), old.dtype)
    kept = min(rows, len(old))  # all of a padded table that is large enough
    new[:kept] = old[:kept]
    for i, parts in enumerate(self.parts, self.first_id):
      new[i] = old[list(parts)].mean(0)
    return jnp.asarray(new)


def _shapes(config: Any, vocab_size: int) -> Any:
  sized = config_lib.overlay(config, {'model.vocab_size': vocab_size})
  made = objectives.make(sized, vocab_size, pad_id=0, sep_id=0, head_rows=1)
  return jax.eval_shape(made.init, rng.root_key(0))
