"""Some classes of words before others: by fixed weights, or by how hard they are to predict."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import selections

_DECAY = 0.999  # of a class's loss, at each step that has predictions of the class
_STEEPNESS = 2.0  # of the sigmoid that turns standard deviations into weights


@trees.dataclass
class Class(selections.Selection):
  """A token weighs as the class of its word: fixed, or by the class's running loss.

  Without fixed weights (POS-tag-weighted masking) each class keeps the exponential moving
  average, .999 a step, of the loss of its words; its weight is sigmoid(2 z), z how many
  standard deviations over the classes it lies above their mean. Averages are corrected for
  their start, as Adam's are; classes never seen count as average.

  Attributes:
    weight_C: float32, the fixed weights, class 0 (no class) has their mean; None without.
    learned: loss_C and steps_C, float32; {} with fixed weights.
  """

  weight_C: batches.Array | None
  learned: dict

  reads = ('class_weights',)
  needs = ('classes',)

  @classmethod
  def make(cls, masking: Any, table: vocabulary.Table, rate: float) -> 'Class':
    if not table.classes:
      raise config_lib.UserError(
        "masking.selection = 'class': the vocabulary has no classes of words; prepare the "
        'data with config.data.classes'
      )
    given, names = tuple(masking.class_weights), table.classes
    if not given:
      zeros_C = np.zeros(len(names) + 1, np.float32)
      return cls(None, {'loss_C': zeros_C, 'steps_C': zeros_C})
    if len(given) != len(names):
      raise config_lib.UserError(
        f'masking.class_weights has {len(given)} weights, the data has '
        f'{len(names)} classes: {", ".join(names)}'
      )
    return cls(np.array([np.mean(given), *given], np.float32), {})

  @property
  def counted(self) -> str:  # pyrefly: ignore[bad-override]  # nobody assigns to it
    return 'class' if self.learned else ''

  def weights(
    self, table: vocabulary.Table, batch: batches.Batch, units_BL: jax.Array
  ) -> jax.Array:
    weight_C = self.weight_C if self.weight_C is not None else class_weights(**self.learned)
    return selections.rounded(weight_C)[selections.classes(batch)]

  def adapt(self, counts: dict[str, jax.Array], step: Any, rate: Any) -> dict[str, batches.Array]:
    before = self.learned
    # The objective counts all the classes that a uint8 can name; the data has fewer.
    loss_C, number_C = (counts[name][: len(before['loss_C'])] for name in ('loss_C', 'number_C'))
    seen_C = number_C > 0
    mean_C = loss_C / jnp.maximum(number_C, 1)
    average_C = _DECAY * before['loss_C'] + (1 - _DECAY) * mean_C
    return {
      'loss_C': jnp.where(seen_C, average_C, before['loss_C']),
      'steps_C': before['steps_C'] + seen_C.astype(jnp.float32),
    }


def class_weights(loss_C: batches.Array, steps_C: batches.Array) -> jax.Array:
  """Returns weight_C in (0, 1) from the running losses; that of class 0, no class, is .5."""
  loss_C = loss_C / jnp.maximum(1 - _DECAY**steps_C, 1e-6)
  # Class 0 is the lack of a class, which must not move the mean of the others.
  used_C = (steps_C > 0) & (jnp.arange(len(steps_C)) > 0)
  number = jnp.maximum(used_C.sum(dtype=jnp.float32), 1)
  away_C = jnp.where(used_C, loss_C - jnp.where(used_C, loss_C, 0).sum() / number, 0)
  deviation = jnp.sqrt((away_C**2).sum() / number)
  return jax.nn.sigmoid(_STEEPNESS * away_C / jnp.maximum(deviation, 1e-6))
