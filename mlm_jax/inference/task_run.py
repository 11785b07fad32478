"""A fine-tuned run opened for use: predictions for examples that have no labels."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import itertools
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import store
from mlm_jax.evaluation import examples as examples_lib
from mlm_jax.inference import encoder_run
from mlm_jax.training import saved
from mlm_jax.training import sharding

_TOGETHER = 4096  # examples that are packed together


def restore(
  model: saved.SavedModel, log: Callable[[str], None], kind: type['TaskRun']
) -> 'TaskRun':
  """Returns the TaskRun, of that kind, of a saved model; UserError as downstream.restore."""
  return kind(model, *downstream.restore(model, log), log)


class TaskRun(encoder_run.EncoderRun):
  """A fine-tuned model with its tokenizer.

  Attributes:
    facts: what the training examples have decided, such as the names of the labels.
  """

  def __init__(
    self,
    model: saved.SavedModel,
    tokenizer: tokenizers.Tokenizer,
    objective: Any,
    facts: dict[str, Any],
    log: Callable[[str], None],
  ):
    super().__init__(model, tokenizer, objective, log)
    self.facts = facts
    self._task = downstream.load(model.config.task.name)
    self._placement = sharding.Placement(
      sharding.largest_mesh(model.config.evaluation.batch_size, 1),
      model.config.evaluation.batch_size,
    )
    self._step = examples_lib.make_step(objective, self._placement.whole)
    self._on_device = jax.device_put(model.params, self._placement.whole)

  def predict(self, texts: Iterable[Any]) -> list[dict[str, Any]]:
    """Returns, for each text in turn, what is predicted: see `predictions` in the downstream task.

    Of classification that is {'prediction': its label, 'probabilities': {label: probability}}, of
    token labelling {'prediction': the tag of each word, 'entities': [{type, start, end}]}, of
    question answering {'prediction': the answer, 'start' and 'end': its place in the context,
    'probability', 'score', 'n_best'}.

    Args:
      texts: texts, or where the task is of pairs (text, second text) each; of token labelling
        lists of words, or texts that are parted at white space; of question answering
        (question, context) each.

    Raises:
      UserError: what is no text, or an empty one.
    """
    if isinstance(texts, str | bytes):
      raise config_lib.UserError('texts must be a list of texts, not one text')
    examples = [
      self._task.unlabelled(f'texts[{number}]', text, self.config.task)
      for number, text in enumerate(texts)
    ]
    return list(self.predictions(examples))

  def predictions(self, examples: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yields what is predicted for examples, see data/examples, in their order."""
    # In parts, so that no more than one of them is in memory; each is packed into full rows.
    left = iter(examples)
    while part := list(itertools.islice(left, _TOGETHER)):
      yield from self._task.predictions(self.outputs(part), part, self.facts)

  def outputs(self, examples: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns {name: array} of what the head gives for each example, such as its logits."""
    encoded = self._task.encode(examples, self.config, self.tokenizer, self.facts)
    prepared = store.in_memory(encoded, self.tokenizer, self.config.data)
    _, outputs = examples_lib.Split(self._step, prepared, store.IN_MEMORY, self._placement).outputs(
      self._on_device
    )
    return outputs
