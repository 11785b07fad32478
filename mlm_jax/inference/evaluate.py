"""A checkpoint scored on held-out text."""

from collections.abc import Collection
import dataclasses
import functools
import math
import pathlib
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax import objectives
from mlm_jax.data import folder as folder_lib
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import store
from mlm_jax.evaluation import baselines
from mlm_jax.evaluation import bayes_optimal
from mlm_jax.evaluation import heldout
from mlm_jax.evaluation import score_run
from mlm_jax.inference import predictor
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib


@dataclasses.dataclass(frozen=True)
class Opened:
  """A checkpoint, and the held-out rows that it is scored on, on the devices.

  Attributes:
    config: of the run's last stage.
    step: of the checkpoint.
    progress: share of the training done.
    evaluators: {name: heldout.Evaluator}, see score_run.HeldOut.
    held_out: score_run.HeldOut.
    params, aux: the model's, see step.TrainState.
  """

  config: Any
  step: int
  progress: float
  evaluators: dict[str, heldout.Evaluator]
  held_out: score_run.HeldOut
  params: Any
  aux: Any

  def under(self, settings: dict[str, Any], progress: float) -> dict[str, float]:
    """Returns {metric: value} under the masks of a policy that is not the run's.

    Args:
      settings: of the policy, the group `masking` of a config as a dict.
      progress: share of the training that its schedule is at.

    Raises:
      UserError: the data lack what it asks for.
    """
    policy = self.held_out.under(settings)
    evaluator = dataclasses.replace(self.evaluators[score_run.OWN], hparams=policy)
    # What another policy would have learned is not known: it is as before the first step.
    return evaluator(self.params, policy.learned, progress)


def open_checkpoint(
  workdir: str | pathlib.Path,
  step: int | None = None,
  data: str | pathlib.Path | None = None,
  allow_code: Collection[str] = (),
) -> Opened:
  """Returns a checkpoint Opened, on as many of the devices as divide the evaluation batch.

  See `evaluate` for the arguments and the errors.
  """
  opened = predictor.open_run(workdir, step)
  config_lib.check_allowed(opened.config, allow_code, workdir, ('masking.selection',))
  config = config_lib.final_stage(opened.config)
  # The last stage's data and policy, by which the run was evaluated while it trained.
  folder = pathlib.Path(data or folder_lib.of_stage(opened.config, workdir, config))
  if not folder.exists():
    raise config_lib.UserError(f'the held-out text is not in {folder}: say with --data where it is')
  prepared = store.open_prepared(folder)
  score_run.check(config, prepared, opened.tokenizer.sha256, workdir)
  placement = sharding.Placement(
    sharding.largest_mesh(config.evaluation.batch_size), config.evaluation.batch_size
  )
  held_out = score_run.held_out(
    config, prepared, _objective(config, prepared, placement), placement
  )
  _check_learned(opened.aux, held_out.policies[score_run.OWN].learned, folder)
  # `trained` and not the encoder alone: a generator, if there is one, predicts the masked tokens.
  params, aux = jax.device_put((opened.trained, opened.aux), placement.whole)
  evaluators = held_out.evaluators(_eval_step(held_out.objective))
  # Progress is that of the checkpoint, so that a policy with a schedule masks as it did then.
  progress = opened.step / config.total_steps
  return Opened(config, opened.step, progress, evaluators, held_out, params, aux)


def evaluate(
  workdir: str | pathlib.Path,
  step: int | None = None,
  data: str | pathlib.Path | None = None,
  with_baselines: bool = False,
  other: dict[str, Any] | None = None,
  allow_code: Collection[str] = (),
) -> dict[str, Any]:
  """Returns {'step': ..., 'reference_loss': ..., 'policy_loss': ..., ...} of a checkpoint.

  A loss is None where no token was masked; other metrics of nothing are left out. It runs on as
  many of the devices as divide the evaluation batch, whatever mesh the run was trained on.

  Args:
    workdir: of the run.
    step: of the checkpoint; None for the newest intact one.
    data: folder of prepared data; None for the run's own.
    with_baselines: whether to add what counting alone scores (evaluation/baselines.py), and on
      synthetic languages the best there can be (evaluation/bayes_optimal.py).
    other: settings of a masking policy (the group `masking` of a config as a dict) under
      which to score too, as `other_loss` and so on; None for none.
    allow_code: each module:name that the run's config names and that may be executed.

  Raises:
    UserError: no run, checkpoint or data there; data made with another tokenizer or
      with rows beyond the model's positions; a score that is not finite.
  """
  opened = open_checkpoint(workdir, step, data, allow_code)
  # First, since they may refuse.
  baseline_scores = _baselines(opened.config, opened.held_out.prepared) if with_baselines else {}
  results = {
    name: evaluator(opened.params, opened.aux, opened.progress)
    for name, evaluator in opened.evaluators.items()
  }
  if other:
    results['other'] = opened.under(other, opened.progress)
  for name, values in results.items():
    if wrong := [metric for metric, value in values.items() if not math.isfinite(value)]:
      raise config_lib.UserError(f'the {name} {wrong[0]} of step {opened.step} is not a number')
  # Where nothing is hidden, as at the end of a schedule that ends at rate 0, there is no loss.
  return (
    {'step': opened.step}
    | {f'{name}_loss': None for name in results}
    | {
      f'{name}_{metric}': value
      for name, values in (results | baseline_scores).items()
      for metric, value in values.items()
    }
  )


# One function for equal objectives: JAX compiles once for all runs of a sweep.
_eval_step = functools.cache(step_lib.make_eval_step)


def _check_learned(learned: Any, expected: Any, folder: pathlib.Path) -> None:
  """Raises UserError where a policy has learned of other things than the data has."""
  # An index beyond what was learned would be cut down to it, silently.
  shapes = lambda tree: jax.tree.map(lambda x: x.shape, tree)
  if shapes(dict(learned)) != shapes(dict(expected)):
    raise config_lib.UserError(
      f'{folder} has other classes of words than the run was trained with; prepare the data with '
      'those'
    )


def _objective(
  config: Any, prepared: store.Prepared, placement: sharding.Placement
) -> objectives.Objective:
  """Returns the objective that scores held-out rows: over the chosen positions alone."""
  # A group of rows is what lies on one device, as in training: no gather crosses devices.
  tokenizer = prepared.tokenizer
  rows = config.evaluation.batch_size // placement.parts
  return objectives.make(
    config, tokenizer.size, tokenizer.pad_id, tokenizer.sep_id, rows, predict_all=False
  )


def _baselines(config: Any, prepared: store.Prepared) -> dict[str, dict[str, float]]:
  """Returns {baseline: {metric: value}} of what needs no model."""
  loader = loader_lib.EvaluationLoader(
    prepared, config.evaluation.batch_size, config.evaluation.rows
  )
  best = (
    {'optimal': bayes_optimal.score(prepared, loader)} if bayes_optimal.is_known(prepared) else {}
  )
  return best | baselines.score(prepared, loader)
