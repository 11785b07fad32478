"""The objective of fine-tuning: an encoder, and a head that a kind of task has on it."""

from collections.abc import Sequence
import dataclasses
import re
from typing import Any
from typing import Protocol

import jax
import jax.numpy as jnp

from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.models import Model
from mlm_jax.models import low_rank

Params = dict[str, Any]
Metrics = dict[str, tuple[jax.Array, jax.Array]]  # {metric: (sum, weight)}, see core/metrics.py
HEAD = 'task'  # of the head's parameters, and of its term
# A column of examples of several segments: int8, which of its example's texts a segment is, from 0.
TEXT = 'text_BS'


@trees.dataclass
class Inputs:
  """Rows of examples.

  Attributes:
    tokens_BL, segments_BL, positions_BL, types_BL: what the encoder reads; types_BL is None where
      examples are single texts.
    starts_BS: where each example begins; -1 where unused.
    columns: what the examples say, see data/examples/store.py.
    attended_B: (query, key) pairs of each row, on average over the layers.
    example_B2: uint32, which row of the data each is.
  """

  tokens_BL: jax.Array
  segments_BL: jax.Array
  positions_BL: jax.Array
  types_BL: jax.Array | None
  starts_BS: jax.Array
  columns: dict[str, jax.Array]
  attended_B: jax.Array
  example_B2: jax.Array

  @property
  def used_BS(self) -> jax.Array:
    """bool: places of a row that hold an example, or a text of one."""
    return self.starts_BS >= 0

  @property
  def firsts_BS(self) -> jax.Array:
    """bool: places of a row that hold an example, or its first text."""
    return self.used_BS & (self.columns[TEXT] == 0) if TEXT in self.columns else self.used_BS


class Head(Protocol):
  """What a kind of task computes from the encoding of its examples.

  A head with `crosses_rows = True` compares the rows of a batch with each other: its loss is not a
  sum over them, and what is dropped out of a row depends on that row alone.
  """

  def init(self, key: jax.Array) -> Params:
    """Returns the head's parameters, {} where it has none."""
    ...

  def outputs(
    self, params: Params, hidden_BLD: jax.Array, inputs: Inputs, key: jax.Array | None
  ) -> dict[str, jax.Array]:
    """Returns {name: [B, S, ...] of examples, or [B, L, ...] of tokens}, what is predicted.

    Args:
      params: the head's.
      hidden_BLD: of the encoder.
      inputs: as said.
      key: of its dropout; None for none.
    """
    ...

  def weight(self, inputs: Inputs) -> jax.Array:
    """Returns what the sum of the losses is divided by, float32."""
    ...

  def loss(self, outputs: dict[str, jax.Array], inputs: Inputs) -> Metrics:
    """Returns {metric: (sum, weight)}, float32: `loss`, divided by `weight`, and others."""
    ...


def apply_module(
  module: Any, params: Params, hidden_NX: jax.Array, key: jax.Array | None
) -> jax.Array:
  """Returns what a head's module, called as module(hidden_NX, deterministic), makes of vectors.

  Args:
    module: of models/heads.py.
    params: its parameters.
    hidden_NX: the vectors.
    key: of its dropout; None for none.
  """
  rngs = None if key is None else {'dropout': key}
  made: Any = module.apply({'params': params}, hidden_NX, key is None, rngs=rngs)
  return made


@dataclasses.dataclass(frozen=True)
class Objective:
  """An Objective as training/problem.py says.

  Attributes:
    model: the encoder; its own head is not used and has no parameters here.
    head: of the task.
    pad_id, sep_id: the padding token, and the one that ends a text.
    has_pairs: whether examples are pairs of texts.
    freeze: regular expressions; parameters whose path one of them matches are not trained.
    adapters: of the encoder's kernels.
  """

  model: Model
  head: Head
  pad_id: int
  sep_id: int
  has_pairs: bool = False
  freeze: Sequence[str] = ()
  adapters: low_rank.Adapters = low_rank.Adapters()

  @property
  def coefficients(self) -> dict[str, float]:
    return {HEAD: 1.0}

  @property
  def encoder(self) -> Model:
    """The Model without the task's head; its parameters are `encoder_params`."""
    return self.model

  def encoder_params(self, params: Params) -> Params:
    """Returns the parameters of `encoder`, from those that are trained: adapters are merged."""
    return self.adapters.merged({name: each for name, each in params.items() if name != HEAD})

  def init(self, key: jax.Array) -> Params:
    """Returns the parameters that are trained."""
    encoder = self.model.init(key)
    del encoder['head']
    encoder, head = self.adapters.add(key, encoder), self.head.init(rng.named(key, HEAD))
    return encoder | ({HEAD: head} if head else {})

  def flops(self, tokens: Any, attended: Any, predicted: Any) -> Any:
    """Returns the FLOPs of one forward pass; the head, once an example, is next to nothing."""
    return self.model.architecture.flops(tokens, attended, 0)

  def prepare(
    self, hparams: Any, aux: Any, batch: batches.Batch, root_key: jax.Array, progress: Any
  ) -> Inputs:
    """Returns Inputs, from the batch alone."""
    segments_BL = batches.segments(batch.tokens_BL, batch.starts_BS, self.pad_id)
    positions_BL = batches.positions(batch.starts_BS, segments_BL.shape[1])
    pairs_BL = jnp.where(segments_BL > 0, self.model.architecture.pairs(positions_BL), 0)
    has_types = self.has_pairs and self.model.architecture.types > 1
    return Inputs(
      tokens_BL=batch.tokens_BL,
      segments_BL=segments_BL,
      positions_BL=positions_BL,
      types_BL=batches.types(batch.tokens_BL, segments_BL, self.sep_id) if has_types else None,
      starts_BS=batch.starts_BS,
      columns=dict(batch.columns),
      attended_B=pairs_BL.sum(1),
      example_B2=batch.example_B2,
    )

  def weights(self, inputs: Inputs) -> dict[str, jax.Array]:
    """Returns {term: what its sum is divided by}."""
    return {HEAD: self.head.weight(inputs)}

  def loss(
    self, params: Params, inputs: Inputs, dropout_key: jax.Array | None = None
  ) -> tuple[dict[str, jax.Array], Metrics, dict[str, Any]]:
    """Returns ({term: sum}, {metric: (sum, weight)}, nothing that `adapt` takes)."""
    return self.loss_of(self.outputs(params, inputs, dropout_key), inputs)

  def loss_of(
    self, outputs: dict[str, jax.Array], inputs: Inputs
  ) -> tuple[dict[str, jax.Array], Metrics, dict[str, Any]]:
    """Returns what `loss` does, from the outputs."""
    metrics = self.scored(outputs, inputs)
    return {HEAD: metrics['loss'][0]}, metrics, {}

  @property
  def crosses_rows(self) -> bool:
    """See problem.Objective."""
    return getattr(self.head, 'crosses_rows', False)

  def scored(self, outputs: dict[str, jax.Array], inputs: Inputs) -> Metrics:
    """Returns {metric: (sum, weight)} of what the head predicts; `loss` is the one to minimise."""
    metrics = self.head.loss(outputs, inputs)
    size = jnp.float32(inputs.tokens_BL.size)
    padding = (inputs.segments_BL == 0).sum(dtype=jnp.float32)
    rows = jnp.float32(len(inputs.tokens_BL))
    return metrics | {
      'padding': (padding, size),
      'attended': (inputs.attended_B.sum(dtype=jnp.float32), size - padding),
      'examples_per_row': (inputs.firsts_BS.sum(dtype=jnp.float32), rows),
    }

  def outputs(
    self, params: Params, inputs: Inputs, dropout_key: jax.Array | None = None
  ) -> dict[str, jax.Array]:
    """Returns what the head predicts, see Head.outputs."""
    params = self._frozen(params)
    encoder_key = head_key = None
    if dropout_key is not None:
      encoder_key, head_key = rng.named(dropout_key, 'encoder'), rng.named(dropout_key, HEAD)
    hidden_BLD = self._hidden(self.encoder_params(params), inputs, encoder_key)
    return self.head.outputs(params.get(HEAD, {}), hidden_BLD, inputs, head_key)

  def _hidden(self, params: Params, inputs: Inputs, key: jax.Array | None) -> jax.Array:
    """Returns hidden_BLD of the encoder."""
    rows = (inputs.tokens_BL, inputs.segments_BL, inputs.positions_BL, inputs.types_BL)
    if key is None or not self.crosses_rows:
      return self.model.apply(params, *rows, dropout_key=key).hidden_BLD
    # Row by row, each with a key of its own: however a batch is divided, the same is dropped out.
    keys_B = rng.example_keys(
      key, 'row', jnp.zeros_like(inputs.example_B2[:, 0]), inputs.example_B2
    )
    alone = lambda key, row: self.model.apply(
      params, *jax.tree.map(lambda x: x[None], row), dropout_key=key
    ).hidden_BLD[0]
    return jax.vmap(alone)(keys_B, rows)

  def adapt(self, hparams: Any, aux: Any, counts: Any, step: Any, progress: Any) -> Any:
    """Returns `aux`: nothing is learned besides the parameters."""
    return aux

  def _frozen(self, params: Params) -> Params:
    """Returns the parameters, those that are not trained without a gradient."""
    if not self.freeze:
      return params
    leaves = [
      jax.lax.stop_gradient(leaf) if any(re.fullmatch(each, path) for each in self.freeze) else leaf
      for path, leaf in trees.paths(params).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)
