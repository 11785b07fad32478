"""The loss of extractive question answering: where an answer begins, and where it ends."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax.data.examples import windows
from mlm_jax.objectives import finetuning

START, FINISH = 'start_BL', 'finish_BL'  # the scores, of the outputs
_NEVER = -1e30  # the score of a token of another window: exp of it is 0, and no infinity


@dataclasses.dataclass(frozen=True)
class AnswerHead:
  """A finetuning.Head: each token has a score as the first of the answer and one as the last.

  The softmax is over all tokens of a window, and the loss the mean of the two cross-entropies, as
  in the classes of `transformers` for question answering without padding.

  Attributes:
    module: what scores the tokens: (hidden_ND, deterministic) -> [N, 2].
    width: of the encoder.
  """

  module: Any
  width: int

  def init(self, key: jax.Array) -> Any:
    return self.module.init({'params': key}, jnp.zeros((1, self.width)), True)['params']

  def outputs(
    self, params: Any, hidden_BLD: jax.Array, inputs: finetuning.Inputs, key: jax.Array | None
  ) -> dict[str, jax.Array]:
    """Returns the scores {START, FINISH}, float32, and the places {windows.BEGIN, windows.END}.

    Padding has a score that no softmax sees.
    """
    B, L, D = hidden_BLD.shape
    scores_N2 = finetuning.apply_module(self.module, params, hidden_BLD.reshape(B * L, D), key)
    scores_BL2 = scores_N2.reshape(B, L, 2)
    places = {name: inputs.columns[name] for name in (windows.BEGIN, windows.END)}
    return places | {
      name: jnp.where(inputs.segments_BL > 0, scores_BL2[..., i], _NEVER)
      for i, name in enumerate((START, FINISH))
    }

  def weight(self, inputs: finetuning.Inputs) -> jax.Array:
    return (inputs.columns[windows.FIRST] >= 0).sum(dtype=jnp.float32)

  def loss(self, outputs: dict[str, jax.Array], inputs: finetuning.Inputs) -> finetuning.Metrics:
    # bool_BSL: the tokens of each window.
    number_1S1 = 1 + jnp.arange(inputs.starts_BS.shape[1])[None, :, None]
    own_BSL = inputs.segments_BL[:, None] == number_1S1
    loss, right = jnp.float32(0), jnp.array(True)
    for name, column in ((START, windows.FIRST), (FINISH, windows.LAST)):
      score_BSL = jnp.where(own_BSL, outputs[name][:, None], _NEVER)
      place_BS = inputs.starts_BS + inputs.columns[column]
      log_BSL = jax.nn.log_softmax(score_BSL)
      at_BS1 = jnp.maximum(place_BS, 0)[..., None]
      loss -= jnp.take_along_axis(log_BSL, at_BS1, axis=-1)[..., 0] / 2
      right &= score_BSL.argmax(-1) == place_BS
    has_BS = inputs.columns[windows.FIRST] >= 0
    total = self.weight(inputs)
    return {
      'loss': (jnp.where(has_BS, loss, 0).sum(), total),
      'accuracy': ((has_BS & right).sum(dtype=jnp.float32), total),
    }
