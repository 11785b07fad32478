"""The masked-language-model objective: cross-entropy at the chosen positions.

Source: arXiv:1810.04805. Only chosen positions reach the vocabulary projection.
They are gathered inside groups of rows that live on one device: a gather over
the whole sharded batch would make every device compute the whole head.
"""

import dataclasses
from typing import Any
from typing import Protocol

import jax
import jax.numpy as jnp

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.masking import corruption
from mlm_jax.models import Encoded
from mlm_jax.models import Model

UNCHOSEN = 4  # beside the actions of masking/corruption.py: not chosen, but predicted (predict_all)

Params = dict[str, Any]  # nested dict of arrays
Sums = dict[str, jax.Array]  # {term: sum of its losses}
Metrics = dict[str, tuple[jax.Array, jax.Array]]  # {metric: (sum, weight)}, see core/metrics.py


@trees.dataclass
class Inputs:
  """Masked rows and, in G groups of rows, their P predicted positions.

  Attributes:
    tokens_BL, segments_BL, positions_BL: what the encoder reads.
    index_GP: positions of the predictions in a group's rows laid end to end.
    targets_GP: the original tokens there.
    action_GP: 1 [MASK], 2 random, 3 kept, 4 not chosen (see Objective.predict_all); 0 where the
      buffer is not used.
    class_GP: the classes of the words there; None where the data has none.
    maskable_B: tokens of each row that a policy may choose.
    padding_B: padding of each row.
    attended_B: (query, key) pairs of each row, on average over the layers.
    overflow_G: chosen positions that found no place in the prediction buffer.
    types_BL: 1 from a pair's second sentence on; None where the data has no pairs.
    auxiliary: {name of an auxiliary loss: its inputs}.
  """

  tokens_BL: jax.Array
  segments_BL: jax.Array
  positions_BL: jax.Array
  index_GP: jax.Array
  targets_GP: jax.Array
  action_GP: jax.Array
  class_GP: jax.Array | None
  maskable_B: jax.Array
  padding_B: jax.Array
  attended_B: jax.Array
  overflow_G: jax.Array
  types_BL: jax.Array | None = None
  auxiliary: dict[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def used_P(self) -> jax.Array:
    """bool: places of the prediction buffer that hold a prediction, of all groups."""
    return self.action_GP.reshape(-1) > 0

  @property
  def chosen_P(self) -> jax.Array:
    """bool: predictions of what the policy chose; all of them without predict_all."""
    return self.used_P & (self.action_GP.reshape(-1) != UNCHOSEN)


class AuxiliaryLoss(Protocol):
  """A further loss on the encoding of masked.Objective, with a head of its own.

  Attributes:
    name: of its parameters and of its term.
    coefficient: of its mean in the total loss.
  """

  @property
  def name(self) -> str: ...

  @property
  def coefficient(self) -> float: ...

  def init(self, key: jax.Array) -> Params:
    """Returns the parameters of the head."""
    ...

  def prepare(self, batch: batches.Batch, masked: masking.Masked, index_GP: jax.Array) -> Any:
    """Returns its inputs, which later calls are given."""
    ...

  def flops(self, predicted: Any) -> Any:
    """Returns the FLOPs of one forward pass of the head; see models/flops.py."""
    ...

  def weight(self, inputs: Any, masked: Inputs) -> jax.Array:
    """Returns the number of predictions, float32."""
    ...

  def loss(
    self, params: Params, encoded: Encoded, inputs: Any, masked: Inputs
  ) -> tuple[jax.Array, Metrics]:
    """Returns (sum of the loss, {metric: (sum, weight)}); params are those of the objective."""
    ...


@dataclasses.dataclass(frozen=True)
class Objective:
  """Three pure functions: prepare, weights, loss.

  Attributes:
    model: the encoder and its head.
    pad_id: the padding token.
    head_rows: rows of a group; divides the rows of a device and micro-batch.
    counted: what the policy learns from: 'vocabulary' (how often each piece was predicted
      right), 'class' (the loss of each class of words), or ''.
    coefficient: of the masked loss.
    predict_all: whether all that can be chosen is predicted (arXiv:2003.10555, section 3.4, there
      with a mechanism that copies).
    auxiliary: further losses on the same encoding.
    sep_id: the token behind each sentence of a pair.
  """

  model: Model
  pad_id: int
  head_rows: int
  counted: str = ''
  coefficient: float = 1.0
  predict_all: bool = False
  auxiliary: tuple[AuxiliaryLoss, ...] = ()
  sep_id: int = -1

  @property
  def coefficients(self) -> dict[str, float]:
    """{term: its coefficient in the total loss}."""
    return {'masked': self.coefficient} | {each.name: each.coefficient for each in self.auxiliary}

  @property
  def mlm(self) -> 'Objective':
    """The masked.Objective that predicts masked tokens; its parameters are `mlm_params`."""
    return self

  @property
  def encoder(self) -> Model:
    """The Model that is used after pretraining; its parameters are `encoder_params`."""
    return self.model

  def mlm_params(self, params: Params) -> Params:
    """Returns the parameters of `mlm`, from those that are trained."""
    return params

  def encoder_params(self, params: Params) -> Params:
    """Returns the parameters of `encoder`, from those that are trained."""
    return params

  def init(self, key: jax.Array) -> Params:
    """Returns the parameters that are trained."""
    # The encoder draws from the key itself, so that an auxiliary loss does not change its init.
    return self.model.init(key) | {
      each.name: each.init(rng.named(key, each.name)) for each in self.auxiliary
    }

  def flops(self, tokens: Any, attended: Any, predicted: Any) -> Any:
    """Returns the FLOPs of one forward pass; see models/flops.py."""
    auxiliary = sum(each.flops(predicted) for each in self.auxiliary)
    return self.model.architecture.flops(tokens, attended, predicted) + auxiliary

  def prepare(
    self, policy: masking.Policy, aux: Any, batch: batches.Batch, root_key: jax.Array, progress: Any
  ) -> Inputs:
    """Returns Inputs: no parameters, no gradient; `aux` is what the policy has learned."""
    masked = masking.mask_batch(policy.with_learned(aux), root_key, batch, progress)
    segments_BL = batches.segments(batch.tokens_BL, batch.starts_BS, self.pad_id)
    B, L = segments_BL.shape
    positions_BL = batches.positions(batch.starts_BS, L)
    # What attention costs here, for the metrics: it depends on how documents are packed.
    pairs_BL = jnp.where(segments_BL > 0, self.model.architecture.pairs(positions_BL), 0)
    chosen_BL, action_BL = masked.chosen_BL, masked.action_BL
    if self.predict_all:
      chosen_BL = masked.units_BL >= 0  # all that a policy may choose is part of a unit
      action_BL = jnp.where(chosen_BL & (action_BL == corruption.NONE), UNCHOSEN, action_BL)
    # Head compaction. A group's rows are laid end to end, and the P places of its prediction
    # buffer are filled from the front with the indices of what is chosen. P is static and states
    # how many can be expected; what does not fit is dropped and counted.
    G = B // self.head_rows
    group = lambda x_BL: x_BL.reshape(G, self.head_rows * L)
    chosen_GR = group(chosen_BL)
    P = self.head_rows * L if self.predict_all else policy.cap(self.head_rows, L)
    index_GP = jax.vmap(lambda chosen_R: jnp.nonzero(chosen_R, size=P, fill_value=-1)[0])(chosen_GR)
    used_GP = index_GP >= 0
    # Unused places read position 0, so that gathers stay inside; action 0 takes them out of sums.
    index_GP = jnp.maximum(index_GP, 0)
    # Every per-token array is compacted in the same way.
    at_index = lambda x_BL: jnp.take_along_axis(group(x_BL), index_GP, axis=1)
    return Inputs(
      tokens_BL=masked.inputs_BL,
      segments_BL=segments_BL,
      positions_BL=positions_BL,
      index_GP=index_GP,
      targets_GP=at_index(masked.targets_BL),
      action_GP=jnp.where(used_GP, at_index(action_BL), corruption.NONE),
      class_GP=None if batch.classes_BL is None else at_index(batch.classes_BL),
      maskable_B=(masked.units_BL >= 0).sum(1),
      padding_B=(segments_BL == 0).sum(1),
      attended_B=pairs_BL.sum(1),
      overflow_G=chosen_GR.sum(1) - used_GP.sum(1),
      types_BL=None
      if batch.pairs_BS is None
      else batches.types(batch.tokens_BL, segments_BL, self.sep_id),
      auxiliary={each.name: each.prepare(batch, masked, index_GP) for each in self.auxiliary},
    )

  def weights(self, inputs: Inputs) -> Sums:
    """Returns {term: number of predictions}."""
    return {'masked': inputs.used_P.sum().astype(jnp.float32)} | {
      each.name: each.weight(inputs.auxiliary[each.name], inputs) for each in self.auxiliary
    }

  def loss(
    self, params: Params, inputs: Inputs, dropout_key: jax.Array | None = None
  ) -> tuple[Sums, Metrics, Sums]:
    """Returns ({term: sum}, {metric: (sum, weight)}, counts), all float32.

    `counts` is what `adapt` takes: sums, so that they add up over micro-batches and devices.
    """
    encoded = self.encode(params, inputs, dropout_key)
    sums, metrics, counts = self.masked_loss(self.predict(params, encoded, inputs), inputs)
    for each in self.auxiliary:
      # All see the one encoding: an auxiliary loss costs no second pass.
      sums[each.name], more = each.loss(params, encoded, inputs.auxiliary[each.name], inputs)
      metrics |= more
    return sums, metrics, counts

  def masked_loss(self, logits_PV: jax.Array, inputs: Inputs) -> tuple[Sums, Metrics, Sums]:
    """Returns what `loss` does, of the masked loss alone, from what `predict` gives."""
    loss_P, rank_P, size = score(logits_PV, inputs)
    counts = _counts(self.counted, size, inputs, loss_P, rank_P)
    return {'masked': loss_P.sum()}, _metrics(inputs, loss_P, rank_P), counts

  def scores(
    self, params: Params, inputs: Inputs, dropout_key: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array, int]:
    """Returns (loss_P, rank_P, V) of the predictions of all groups; see `score`."""
    return score(self.predict(params, self.encode(params, inputs, dropout_key), inputs), inputs)

  def encode(self, params: Params, inputs: Inputs, dropout_key: jax.Array | None = None) -> Encoded:
    """Returns the Encoded rows."""
    return self.model.apply(
      params,
      inputs.tokens_BL,
      inputs.segments_BL,
      inputs.positions_BL,
      inputs.types_BL,
      dropout_key=dropout_key,
    )

  def predict(self, params: Params, encoded: Encoded, inputs: Inputs) -> jax.Array:
    """Returns logits_PV of the predictions of all groups, one group behind the other."""
    return self.model.head(params, gather(encoded.decoded_BLD, inputs.index_GP))

  def adapt(self, policy: masking.Policy, aux: Any, counts: Sums, step: Any, progress: Any) -> Any:
    """Returns what the policy has learned after a 0-based step; progress as for `prepare`."""
    return masking.adapt(policy.with_learned(aux), counts, step, progress) if self.counted else aux


def gather(hidden_BLD: jax.Array, index_GP: jax.Array) -> jax.Array:
  """Returns [G x P, D]: the rows at these positions of each group, whose rows lie end to end."""
  # Inside groups: a gather over all rows would move hidden states between devices.
  G, D = len(index_GP), hidden_BLD.shape[-1]
  return jnp.take_along_axis(hidden_BLD.reshape(G, -1, D), index_GP[:, :, None], axis=1).reshape(
    -1, D
  )


def score(logits_PV: jax.Array, inputs: Inputs) -> tuple[jax.Array, jax.Array, int]:
  """Returns (loss_P, rank_P, V).

  loss_P: nats, 0 where the buffer is not used.
  rank_P: how many tokens are ranked above the target, 0 where it is predicted right.
  V: columns of the logits.
  """
  targets_P, used_P = inputs.targets_GP.reshape(-1), inputs.used_P
  # logsumexp minus the target's logit: no [P, V] array of log-probabilities is kept.
  score_P = jnp.take_along_axis(logits_PV, targets_P[:, None], axis=1)[:, 0]
  loss_P = jnp.where(used_P, jax.nn.logsumexp(logits_PV, axis=1) - score_P, 0)
  # `not <=` instead of `>`: against a NaN the target must not win.
  rank_P = (~(logits_PV <= score_P[:, None])).sum(1)
  return loss_P, rank_P, logits_PV.shape[1]


def sum_and_weight(value: Any, where: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns a metric's float32 (sum of the values, their number), over where `where` holds."""
  return jnp.where(where, value, 0).sum(dtype=jnp.float32), where.sum(dtype=jnp.float32)


def _counts(counted: str, size: int, inputs: Inputs, loss_P: jax.Array, rank_P: jax.Array) -> Sums:
  """Returns {name: float32 sums} of what a policy learns from (see masking/selections/).

  A policy learns from its own choices alone, also where more is predicted.
  """
  sum_by = lambda index_P, value_P, length: (
    jnp.zeros(length, jnp.float32)
    .at[index_P]
    .add(jnp.where(inputs.chosen_P, value_P, 0).astype(jnp.float32))
  )
  if counted == 'vocabulary':
    targets_P = inputs.targets_GP.reshape(-1)
    return {
      'correct_V': sum_by(targets_P, rank_P == 0, size),
      'wrong_V': sum_by(targets_P, rank_P > 0, size),
    }
  if counted == 'class':
    assert inputs.class_GP is not None, 'a selection by class is refused for data without classes'
    class_P = inputs.class_GP.reshape(-1).astype(jnp.int32)
    # 256 classes, as many as their uint8 ids can name.
    return {'loss_C': sum_by(class_P, loss_P, 256), 'number_C': sum_by(class_P, 1, 256)}
  return {}


def _metrics(inputs: Inputs, loss_P: jax.Array, rank_P: jax.Array) -> Metrics:
  """Returns {name: (sum, weight)}; rank_P counts the tokens ranked above the target."""
  used_P, action_P = inputs.used_P, inputs.action_GP.reshape(-1)
  size = jnp.float32(inputs.tokens_BL.size)
  predicted, chosen = used_P.sum(dtype=jnp.float32), inputs.chosen_P.sum(dtype=jnp.float32)
  overflow = inputs.overflow_G.sum(dtype=jnp.float32)
  padding = inputs.padding_B.sum(dtype=jnp.float32)
  return {
    'loss': sum_and_weight(loss_P, used_P),
    'accuracy': sum_and_weight(rank_P == 0, used_P),
    'top5_accuracy': sum_and_weight(rank_P < 5, used_P),
    'loss_masked': sum_and_weight(loss_P, action_P == corruption.MASK),
    'loss_random': sum_and_weight(loss_P, action_P == corruption.RANDOM),
    'loss_kept': sum_and_weight(loss_P, action_P == corruption.KEEP),
    # Shares of all positions of the rows, padding included.
    'predicted': (predicted, size),
    # What overflowed was hidden too, though not predicted.
    'rate': (chosen + overflow, inputs.maskable_B.sum(dtype=jnp.float32)),
    'padding': (padding, size),
    'attended': (inputs.attended_B.sum(dtype=jnp.float32), size - padding),
    'overflow': (overflow, predicted + overflow),
  }
