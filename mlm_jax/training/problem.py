"""What a training run is about: every kind of training makes a Problem, and all else is shared.

A task (mlm_jax/tasks) turns a config into a Problem. The loop, checkpoints, exact resume, early
stopping, populations and sweeps then work for it without knowing what it trains.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import Protocol

import jax
import numpy as np

from mlm_jax.core import metrics

PyTree = Any
Sums = dict[str, tuple[jax.Array, jax.Array]]  # {metric: (sum, weight)}, see core/metrics.py


# Parameters of the protocol are positional: each objective calls them what they are for it.
class Objective(Protocol):
  """A loss as pure functions; `prepare` runs outside of the gradient, `loss` inside.

  An objective whose loss compares the rows of a batch with each other has `crosses_rows = True` and
  two more functions, of which `loss` is one behind the other: see gradient_cache.py.
  It may also have `freeze`, see `frozen`.

  Attributes:
    coefficients: {term: its factor in the loss}.
  """

  @property
  def coefficients(self) -> dict[str, float]: ...

  def prepare(
    self, hparams: Any, aux: PyTree, batch: Any, root_key: jax.Array, progress: Any, /
  ) -> Any:
    """Returns what the loss is computed from: no parameters, no gradient.

    Args:
      hparams: of the stage, see Stage.
      aux: what has been learned besides the parameters, see TrainState.
      batch: rows on the device.
      root_key: from which every draw descends.
      progress: share of the training done, 0 to 1.
    """
    ...

  def weights(self, inputs: Any, /) -> dict[str, jax.Array]:
    """Returns {term: the weight that its sum is divided by}."""
    ...

  def loss(
    self, params: PyTree, inputs: Any, dropout_key: jax.Array | None, /
  ) -> tuple[dict[str, jax.Array], Sums, PyTree]:
    """Returns ({term: sum}, {metric: (sum, weight)}, counts for `adapt`)."""
    ...

  def adapt(self, hparams: Any, aux: PyTree, counts: Any, step: Any, progress: Any, /) -> PyTree:
    """Returns `aux` after a step, from its counts; `aux` itself where nothing is learned."""
    ...


def frozen(objective: Objective) -> Sequence[str]:
  """Returns regular expressions over the paths of parameters that an objective does not train.

  It is what the attribute `freeze` says. They have no gradient, and the optimizer holds nothing of
  them.
  """
  return getattr(objective, 'freeze', ())


@dataclasses.dataclass(frozen=True)
class Stage:
  """Steps that follow one another with one batch size, data and peak learning rate.

  Attributes:
    first: the 0-based step that it begins with.
    config: the run's, as it is in this stage.
    objective: what is minimised.
    hparams: pytree of numbers that the compiled step takes as arguments and not as constants,
      such as a masking policy. Runs that differ in these alone can share a step.
    batch: (step) -> this process's rows of the step's batch, on the host.
    examples: (step) -> the numbers of the examples of the whole batch, [B, ...].
  """

  first: int
  config: Any
  objective: Objective
  hparams: PyTree
  batch: Callable[[int], PyTree]
  examples: Callable[[int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Which checkpoint is the best, and when evaluations no longer improve.

  Attributes:
    evaluator, metric: the field `evaluator_metric` of evaluations.jsonl that ranks.
    mode: 'min' where less is better, else 'max'.
    patience: evaluations without an improvement after which training ends; 0 = never.
    min_delta: an improvement is larger than this.
    guard: a field of evaluations.jsonl that may rise by `allowance` above its first value; beyond
      it a checkpoint is not the best, and training ends. '' for none.
    allowance: as said.
  """

  evaluator: str
  metric: str
  mode: str = 'min'
  patience: int = 0
  min_delta: float = 0.0
  guard: str = ''
  allowance: float = 0.0

  @property
  def field(self) -> str:
    return f'{self.evaluator}_{self.metric}'


@dataclasses.dataclass(frozen=True)
class Problem:
  """What a training run is about.

  Attributes:
    stages: in their order; the first begins with step 0.
    init: (key) -> params.
    evaluators: {name: (params, aux, progress) -> {metric: value}}.
    ranking: which evaluation ranks the checkpoints.
    fingerprints: {name: text} that must be the same whenever the run is resumed.
    aux: pytree of what is learned besides the parameters, as before the first step.
    init_params: {path: array} to start from in place of what `init` gives there, see
      core/trees.py; None for nothing.
    final_reports: (params, aux) -> {file name: what the file in the run's folder holds}, written
      when the run has ended: {name: value} of a .json file, {name: array} of an .npz file, a list
      of such dicts of a .jsonl file.
    keeps: which checkpoint is the run's model when it has ended: the 'last', or the 'best' by
      the ranking of those that were kept.
    stop_rule: (lines of evaluations.jsonl so far) -> why the run ends here, '' to continue. It
      must depend on nothing else, so that a resumed run stops where an unbroken one does.
    means: ({metric: (sum, weight)}) -> {metric: value}, what a line of metrics.jsonl holds.
    work: ({metric: (sum, weight)}) -> {kind: amount} of the steps that these were summed over,
      such as tokens or model_flops; logged per second.
    shown: metrics that a person sees while it trains.
    warnings: {metric: text}: a share that a person is told of where it is not 0.
    spike_metric: the metric whose jumps are logged; '' for none.
    artifacts: {name: path}: files and folders of which the run's folder keeps a copy; or in place
      of a path a function of the run's folder that writes it.
  """

  stages: tuple[Stage, ...]
  init: Callable[[jax.Array], PyTree]
  evaluators: Mapping[str, Callable]
  ranking: Ranking
  # The four fields above are enough to train; a task may leave out what follows.
  fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
  aux: PyTree = dataclasses.field(default_factory=dict)
  init_params: dict[str, jax.Array] | None = None
  final_reports: Callable[[PyTree, PyTree], Mapping[str, Any]] = lambda params, aux: {}
  keeps: str = 'last'
  stop_rule: Callable[[list[dict]], str] = lambda evaluations: ''
  means: Callable[[Sums], dict[str, float]] = metrics.means
  work: Callable[[Sums], dict[str, float]] = lambda sums: {}
  shown: tuple[str, ...] = ()
  warnings: dict[str, str] = dataclasses.field(default_factory=dict)
  spike_metric: str = ''
  artifacts: dict[str, Any] = dataclasses.field(default_factory=dict)

  def stage_at(self, step: int) -> int:
    """Returns the number of the stage that a 0-based step belongs to."""
    # Stages are in order, so the last one that has begun is the current one.
    return max(n for n, stage in enumerate(self.stages) if stage.first <= step)

  def examples(self, step: int) -> np.ndarray:
    """Returns the numbers of the examples in the batch of a 0-based step."""
    return self.stages[self.stage_at(step)].examples(step)
