"""What was lately guessed wrong before what was guessed right."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import selections

_EVERY = 200  # steps
_KEPT = 0.2  # of a weight when it changes
_LEAST = 0.005  # weight of a vocabulary entry: what is always right must still be tried at times


@trees.dataclass
class Accuracy(selections.Selection):
  """A piece weighs by how often it was guessed wrong lately (adaptive masking, AMLM).

  Every 200 steps the weight of a vocabulary entry becomes .2 of itself plus
  .8 p (1 - accuracy), p the rate and the accuracy that of the predictions since the last
  change, (correct + .5) / (correct + wrong + 1); never below .005.

  Attributes:
    learned: weight_V, correct_V and wrong_V, float32.
  """

  learned: dict

  counted = 'vocabulary'

  @classmethod
  def make(cls, masking: Any, table: vocabulary.Table, rate: float) -> 'Accuracy':
    # At the start all weigh alike, so the first masks are those of uniform selection in law.
    zeros_V = np.zeros(table.size, np.float32)
    return cls({'weight_V': zeros_V + np.float32(rate), 'correct_V': zeros_V, 'wrong_V': zeros_V})

  def weights(
    self, table: vocabulary.Table, batch: batches.Batch, units_BL: jax.Array
  ) -> jax.Array:
    return selections.rounded(self.learned['weight_V'])[batch.tokens_BL]

  def adapt(self, counts: dict[str, jax.Array], step: Any, rate: Any) -> dict[str, batches.Array]:
    before = self.learned
    size = len(before['weight_V'])  # the head's padding is cut off
    correct_V = before['correct_V'] + counts['correct_V'][:size]
    wrong_V = before['wrong_V'] + counts['wrong_V'][:size]
    # One half of each is added: an entry without predictions counts as right half of the time.
    accuracy_V = (correct_V + 0.5) / (correct_V + wrong_V + 1)
    weight_V = jnp.maximum(
      _KEPT * before['weight_V'] + (1 - _KEPT) * rate * (1 - accuracy_V), _LEAST
    )
    due = (step + 1) % _EVERY == 0
    return {
      'weight_V': jnp.where(due, weight_V, before['weight_V']),
      'correct_V': jnp.where(due, 0, correct_V),
      'wrong_V': jnp.where(due, 0, wrong_V),
    }
