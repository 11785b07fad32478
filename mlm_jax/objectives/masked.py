"""The masked-language-model objective: cross-entropy at the chosen positions.

Source: arXiv:1810.04805. Only chosen positions reach the vocabulary projection.
They are gathered inside groups of rows that live on one device: a gather over
the whole sharded batch would make every device compute the whole head.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.models import Model

SEEN = 4  # besides the actions of masking/corruption.py: not chosen, and predicted all the same


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
  """Masked rows and, in G groups of rows, their P predicted positions.

  Attributes:
    tokens_BL, segments_BL, positions_BL: what the encoder reads.
    index_GP: where the predictions stand in a group's rows laid end to end.
    targets_GP: the original tokens there.
    action_GP: 1 [MASK], 2 random, 3 kept, 4 not chosen (see Objective.predict_all); 0 where the
      buffer is not used.
    class_GP: the classes of the words there; None where the data has none.
    maskable_B, padding_B, attended_B, overflow_G: counts, for the metrics.
    types_BL: 1 from a pair's second sentence on; None where the data has no pairs.
    terms: {name: what an added term is given}.
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
  terms: dict = dataclasses.field(default_factory=dict)

  @property
  def used_P(self):
    """bool: what is predicted, of all groups."""
    return self.action_GP.reshape(-1) > 0

  @property
  def hidden_P(self):
    """bool: what is predicted and the policy chose."""
    return self.used_P & (self.action_GP.reshape(-1) != SEEN)


@dataclasses.dataclass(frozen=True)
class Objective:
  """Three pure functions: prepare, weights, loss.

  Attributes:
    model: the encoder and its head.
    pad_id: the padding token.
    head_rows: rows of a group; divides the rows of a device and micro-batch.
    counted: what the policy learns from: 'vocabulary' (how often each piece was guessed),
      'class' (the loss of each class of words), or ''.
    weight: coefficient of the masked loss.
    predict_all: whether all that can be chosen is predicted (arXiv:2003.10555, section 3.4, there
      with a mechanism that copies).
    terms: of other losses on the same encoding, see pairs.Term and boundary.Term.
    sep_id: the token behind each sentence of a pair.
  """

  model: Model
  pad_id: int
  head_rows: int
  counted: str = ''
  weight: float = 1.0
  predict_all: bool = False
  terms: tuple = ()
  sep_id: int = -1

  @property
  def coefficients(self):
    return {'masked': self.weight} | {term.name: term.weight for term in self.terms}

  @property
  def mlm(self):
    """The masked.Objective that predicts masked tokens; its parameters are `mlm_params`."""
    return self

  @property
  def encoder(self):
    """The Model whose hidden states are used after pretraining; its parameters are
    `encoder_params`.
    """
    return self.model

  def mlm_params(self, params):
    """Returns the parameters of `mlm`, from those that are trained."""
    return params

  def encoder_params(self, params):
    """Returns the parameters of `encoder`, from those that are trained."""
    return params

  def init(self, key):
    """Returns the parameters that are trained."""
    return self.model.init(key) | {
      term.name: term.init(rng.named(key, term.name)) for term in self.terms
    }

  def flops(self, tokens, attended, predicted):
    """Returns the FLOPs of one forward pass; see models/flops.py."""
    terms = sum(term.flops(predicted) for term in self.terms)
    return self.model.architecture.flops(tokens, attended, predicted) + terms

  def prepare(self, policy, batch, root_key, progress):
    """Returns Inputs: no parameters, no gradient."""
    masked = masking.mask_batch(policy, root_key, batch, progress)
    segments_BL = batches.segments(batch.tokens_BL, batch.starts_BS, self.pad_id)
    B, L = segments_BL.shape
    positions_BL = batches.positions(batch.starts_BS, L)
    pairs_BL = jnp.where(segments_BL > 0, self.model.architecture.pairs(positions_BL), 0)
    chosen_BL, action_BL = masked.chosen_BL, masked.action_BL
    if self.predict_all:
      chosen_BL = masked.units_BL >= 0
      action_BL = jnp.where(chosen_BL & (action_BL == 0), SEEN, action_BL)
    G = B // self.head_rows
    group = lambda x_BL: x_BL.reshape(G, self.head_rows * L)
    chosen_GR = group(chosen_BL)
    P = self.head_rows * L if self.predict_all else policy.cap(self.head_rows, L)
    index_GP = jax.vmap(lambda chosen_R: jnp.nonzero(chosen_R, size=P, fill_value=-1)[0])(chosen_GR)
    used_GP = index_GP >= 0
    index_GP = jnp.maximum(index_GP, 0)
    at_index = lambda x_BL: jnp.take_along_axis(group(x_BL), index_GP, axis=1)
    return Inputs(
      tokens_BL=masked.inputs_BL,
      segments_BL=segments_BL,
      positions_BL=positions_BL,
      index_GP=index_GP,
      targets_GP=at_index(masked.targets_BL),
      action_GP=jnp.where(used_GP, at_index(action_BL), 0),
      class_GP=None if batch.classes_BL is None else at_index(batch.classes_BL),
      maskable_B=(masked.units_BL >= 0).sum(1),
      padding_B=(segments_BL == 0).sum(1),
      attended_B=pairs_BL.sum(1),
      overflow_G=chosen_GR.sum(1) - used_GP.sum(1),
      types_BL=None
      if batch.pairs_BS is None
      else batches.types(batch.tokens_BL, segments_BL, self.sep_id),
      terms={term.name: term.prepare(batch, masked, index_GP) for term in self.terms},
    )

  def weights(self, inputs):
    """Returns {term: number of predictions}."""
    return {'masked': inputs.used_P.sum().astype(jnp.float32)} | {
      term.name: term.total(inputs.terms[term.name], inputs) for term in self.terms
    }

  def loss(self, params, inputs, dropout_key=None):
    """Returns ({term: sum}, {metric: (sum, weight)}, counts), all float32.

    `counts` is what `adapt` takes: sums, so that they add up over micro-batches and devices.
    """
    encoded = self.encode(params, inputs, dropout_key)
    sums, metrics, counts = self.loss_of(self.predict(params, encoded, inputs), inputs)
    for term in self.terms:
      sums[term.name], more = term.loss(params, encoded, inputs.terms[term.name], inputs)
      metrics |= more
    return sums, metrics, counts

  def loss_of(self, logits_PV, inputs):
    """Returns what `loss` does of the masked loss alone, from `predict`."""
    loss_P, better_P, size = score(logits_PV, inputs)
    counts = _counts(self.counted, size, inputs, loss_P, better_P)
    return {'masked': loss_P.sum()}, _metrics(inputs, loss_P, better_P), counts

  def scores(self, params, inputs, dropout_key=None):
    """Returns (loss_P, better_P, V) of the predictions of all groups; see `score`."""
    return score(self.predict(params, self.encode(params, inputs, dropout_key), inputs), inputs)

  def encode(self, params, inputs, dropout_key=None):
    """Returns the Encoded rows."""
    return self.model.apply(
      params,
      inputs.tokens_BL,
      inputs.segments_BL,
      inputs.positions_BL,
      inputs.types_BL,
      dropout_key=dropout_key,
    )

  def predict(self, params, encoded, inputs):
    """Returns logits_PV of the predictions of all groups, one group behind the other."""
    return self.model.head(params, gathered(encoded.decoded_BLD, inputs.index_GP))

  def adapt(self, policy, counts, step, progress):
    """Returns what the policy has learned after a 0-based step; progress as for `prepare`."""
    return masking.adapt(policy, counts, step, progress) if self.counted else policy.learned


def gathered(hidden_BLD, index_GP):
  """Returns [G x P, D]: what stands at places of the rows of each group, which are laid end to
  end.
  """
  G, D = len(index_GP), hidden_BLD.shape[-1]
  return jnp.take_along_axis(hidden_BLD.reshape(G, -1, D), index_GP[:, :, None], axis=1).reshape(
    -1, D
  )


def score(logits_PV, inputs):
  """Returns (loss_P, better_P, V).

  loss_P: nats, 0 where the buffer is not used.
  better_P: how many tokens are ranked above the target.
  V: columns of the logits.
  """
  targets_P, used_P = inputs.targets_GP.reshape(-1), inputs.used_P
  score_P = jnp.take_along_axis(logits_PV, targets_P[:, None], axis=1)[:, 0]
  loss_P = jnp.where(used_P, jax.nn.logsumexp(logits_PV, axis=1) - score_P, 0)
  # `not <=` instead of `>`: against a NaN the target must not win.
  better_P = (~(logits_PV <= score_P[:, None])).sum(1)
  return loss_P, better_P, logits_PV.shape[1]


def _counts(counted, size, inputs, loss_P, better_P):
  """Returns {name: float32 sums} of what a policy learns from (see masking/selections/)."""
  total = lambda index_P, value_P, length: (
    jnp.zeros(length, jnp.float32)
    .at[index_P]
    .add(jnp.where(inputs.hidden_P, value_P, 0).astype(jnp.float32))
  )
  if counted == 'vocabulary':
    targets_P = inputs.targets_GP.reshape(-1)
    return {
      'correct_V': total(targets_P, better_P == 0, size),
      'wrong_V': total(targets_P, better_P > 0, size),
    }
  if counted == 'class':
    class_P = inputs.class_GP.reshape(-1).astype(jnp.int32)
    return {'loss_C': total(class_P, loss_P, 256), 'number_C': total(class_P, 1, 256)}
  return {}


def _metrics(inputs, loss_P, better_P):
  """Returns {name: (sum, weight)}; better_P counts the tokens ranked above the target."""
  used_P, action_P = inputs.used_P, inputs.action_GP.reshape(-1)
  over = lambda value, chosen: (
    jnp.where(chosen, value, 0).sum(dtype=jnp.float32),
    chosen.sum(dtype=jnp.float32),
  )
  size = jnp.float32(inputs.tokens_BL.size)
  predicted, hidden = used_P.sum(dtype=jnp.float32), inputs.hidden_P.sum(dtype=jnp.float32)
  overflow = inputs.overflow_G.sum(dtype=jnp.float32)
  padding = inputs.padding_B.sum(dtype=jnp.float32)
  return {
    'loss': over(loss_P, used_P),
    'accuracy': over(better_P == 0, used_P),
    'top5_accuracy': over(better_P < 5, used_P),
    'loss_masked': over(loss_P, action_P == 1),
    'loss_random': over(loss_P, action_P == 2),
    'loss_kept': over(loss_P, action_P == 3),
    'predicted': (predicted, size),
    'rate': (hidden + overflow, inputs.maskable_B.sum(dtype=jnp.float32)),
    'padding': (padding, size),
    'attended': (inputs.attended_B.sum(dtype=jnp.float32), size - padding),
    'overflow': (overflow, predicted + overflow),
  }
