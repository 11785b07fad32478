"""The scores of a fine-tuned model: of validation as it trains, of the test when it has ended."""

from collections.abc import Callable
import dataclasses
import functools
import hashlib
import json
from typing import Any

from mlm_jax import downstream
from mlm_jax.data.examples import store
from mlm_jax.evaluation import examples as examples_lib
from mlm_jax.evaluation.examples import VALIDATION

# name of a split -> ({metric: mean}, outputs): see examples.Split.outputs.
OutputsOf = Callable[[str], tuple[dict, list[dict]]]


@dataclasses.dataclass(frozen=True)
class Scorer:
  """What a task makes of a model's outputs.

  Attributes:
    task: as said.
    splits: {name: the rows of a split}; without test examples those of validation are scored at the
      end.
    facts: of the training examples.
  """

  task: downstream.Task
  splits: dict[str, examples_lib.Split]
  facts: dict[str, Any]

  def validation(self, params: Any, aux: Any, progress: float) -> dict[str, float]:
    """Returns {metric: value} of the validation examples: see problem.Problem."""
    outputs_of = self._outputs(params)
    return self._scores(VALIDATION, outputs_of, self._calibrated(outputs_of))

  def final_reports(self, params: Any, aux: Any) -> dict[str, Any]:
    """Returns {file: content} of a run that has ended: scores and predictions of the test examples.

    Without test examples those of validation are written, and their file says so. What the examples
    of validation decide of the model is a file of its own, see downstream.calibrated.
    """
    name, outputs_of = 'test' if 'test' in self.splits else VALIDATION, self._outputs(params)
    calibrated = self._calibrated(outputs_of)
    facts = self.facts | calibrated
    lines = self.task.predictions(outputs_of(name)[1], self._examples(name), facts)
    report = {
      'split': name,
      'examples': len(lines),
      'scores': self._scores(name, outputs_of, calibrated),
      'errors': self.task.errors(lines, facts),
    }
    files = {examples_lib.TEST: report, examples_lib.PREDICTIONS: lines}
    return files | ({store.CALIBRATION: {'facts': calibrated}} if calibrated else {})

  def _outputs(self, params: Any) -> OutputsOf:
    """Returns the outputs of a split, by its name, made when they are asked for and only once."""
    return functools.cache(lambda name: self.splits[name].outputs(params))

  def _calibrated(self, outputs_of: OutputsOf) -> dict[str, Any]:
    """Returns the facts that the examples of validation decide of the model."""
    found = lambda: (outputs_of(VALIDATION)[1], self._examples(VALIDATION))
    return downstream.calibrated(self.task, self.facts, found)

  def _scores(
    self, name: str, outputs_of: OutputsOf, calibrated: dict[str, Any]
  ) -> dict[str, float]:
    """Returns {metric: value}, the loss among them where examples alone have one."""
    means, outputs = outputs_of(name)
    loss = {metric: value for metric, value in means.items() if metric == 'loss'}
    return loss | self.task.score(outputs, self._examples(name), self.facts | calibrated)

  def _examples(self, name: str) -> list[Any]:
    """Returns the examples of a split."""
    found = self.splits[name].prepared.examples(name)
    return [self.task.Example(**fields) for fields in found]


def digest(prepared: store.Prepared, split: str) -> str:
  """Returns the sha256 of a split's examples, whatever file and rows they are in."""
  content = [
    {name: value for name, value in each.items() if name != 'where'}
    for each in prepared.examples(split)
  ]
  return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
