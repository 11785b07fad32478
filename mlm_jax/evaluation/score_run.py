"""The held-out rows of prepared data, and what scores a run on them.

Each run is scored under the reference policy, which all runs share, and under its own.
"""

from collections.abc import Callable
import dataclasses
import pathlib
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import store
from mlm_jax.evaluation import heldout
from mlm_jax.evaluation import segment_scores
from mlm_jax.evaluation import slices

REFERENCE, OWN = 'reference', 'policy'


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Held-out rows, the policies that mask them, and the objective that scores a model on them.

  Attributes:
    objective: for batches of the loaders; of several, the one that predicts masked tokens counts.
    prepared: where the rows are from.
    policies: {name: masking.Policy}, on the devices.
    loaders: {source: loader of its held-out rows}.
    put: host batch -> device batch.
    whole: where what is not divided lies on the devices.
  """

  objective: Any
  prepared: store.Prepared
  policies: dict[str, masking.Policy]
  loaders: dict[str, loader_lib.EvaluationLoader]
  put: Callable
  whole: Any

  def evaluators(self, eval_step: Callable) -> dict[str, heldout.Evaluator]:
    """Returns an Evaluator for each policy; eval_step as training/step.py makes it."""
    # One function, so that policies of one structure share a compiled program.
    jitted = jax.jit(eval_step)
    return {
      name: heldout.Evaluator(jitted, policy, self.loaders, self.put)
      for name, policy in self.policies.items()
    }

  def reports(self, params: Any, aux: Any) -> dict[str, dict[str, Any]]:
    """Returns {file: what it holds of a model}, see slices.py and segment_scores.py."""
    objective = self.objective
    # The reference policy learns nothing, so that all runs are compared under the same masks.
    policies = self.policies | {OWN: self.policies[OWN].with_learned(aux)}
    content, segments = slices.score(
      objective.mlm,
      objective.mlm_params(params),
      policies,
      self.prepared,
      self.loaders,
      self.put,
      whole=self.whole,
    )
    return {slices.FILE: content, segment_scores.FILE: segments}

  def under(self, settings: dict[str, Any]) -> masking.Policy:
    """Returns the policy of other settings (the group `masking` as a dict), on the devices.

    Raises:
      UserError: the data lack what it asks for.
    """
    store.needs(self.prepared, settings)
    policy = masking.make(self.prepared.table, length=self.prepared.row_length, **settings)
    return jax.device_put(policy, self.whole)


def held_out(config: Any, prepared: store.Prepared, objective: Any, placement: Any) -> HeldOut:
  """Returns the HeldOut of a config.

  Args:
    config: of the stage: its groups evaluation and masking.
    prepared: the data.
    objective: see HeldOut.
    placement: training.sharding.Placement of batches of config.evaluation.batch_size.
  """
  own = masking.make(prepared.table, length=prepared.row_length, **config.masking.to_dict())
  policies = {REFERENCE: heldout.reference_policy(prepared.table), OWN: own}
  return HeldOut(
    objective,
    prepared,
    {name: jax.device_put(policy, placement.whole) for name, policy in policies.items()},
    loaders(config, prepared, placement),
    placement.put,
    placement.whole,
  )


def loaders(
  config: Any, prepared: store.Prepared, placement: Any
) -> dict[str, loader_lib.EvaluationLoader]:
  """Returns {source: loader of its held-out rows}; see `held_out` for the arguments."""
  size, several = config.evaluation.batch_size, len(prepared.sources) > 1
  # A loader a source gives each its own loss; one source needs no division of its rows.
  return {
    name: loader_lib.EvaluationLoader(
      prepared, size, config.evaluation.rows, number if several else None, placement.local_rows
    )
    for number, name in enumerate(prepared.sources)
  }


def check(
  config: Any, prepared: store.Prepared, tokenizer_sha256: str, workdir: str | pathlib.Path
) -> None:
  """Raises UserError where a run cannot be scored on prepared data.

  Args:
    config: of the run's last stage.
    prepared: the data.
    tokenizer_sha256: of the run's tokenizer.
    workdir: the run's folder, for the message.
  """
  where = prepared.directory
  if prepared.tokenizer.sha256 != tokenizer_sha256:
    raise config_lib.UserError(f'{where} was prepared with another tokenizer than {workdir}')
  store.needs(prepared, config.masking)
  # Rows of another kind of pairs, or of none, would be scored by a head that never saw such.
  pairs = prepared.manifest['settings']['pairs']
  if config.objective.pairs_weight and pairs != config.data.pairs:
    raise config_lib.UserError(
      f'{where} was prepared with config.data.pairs = {pairs!r}, {workdir} distinguishes pairs of '
      f'the kind {config.data.pairs!r}; prepare the data with that'
    )
  if pairs and config.model.types == 1:
    raise config_lib.UserError(
      f'{where} holds pairs of sentences, of which the model cannot tell the second: it has one '
      'token type'
    )
  if prepared.row_length > config.model.max_positions:
    raise config_lib.UserError(
      f'{where} has rows of {prepared.row_length}, beyond the '
      f'{config.model.max_positions} positions of the model'
    )
