"""What the arms of a sweep may be compared by: held-out scores, and which way they are better."""

from collections.abc import Mapping
import difflib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.evaluation import score_run
from mlm_jax.masking import schedules
from mlm_jax.sweeps import kinds


def default(config: config_lib.Config) -> str:
  """Returns the metric of a sweep that names none."""
  return next(iter(of(config)))


def of(config: config_lib.Config) -> dict[str, str]:
  """Returns {score: 'min' or 'max', which is better} of a config's run, as kinds.Kind has it."""
  return kinds.of(config).metrics(config)


def direction(metric: Any, given: Any, configs: Mapping[str, config_lib.Config]) -> str:
  """Returns 'min' or 'max': `given`, or where that is None what is better of the metric.

  Args:
    metric: what arms are to be compared by.
    given: the direction that a sweep names, or None.
    configs: {name of a run: config}.

  Raises:
    UserError: a run has no such metric, the metric cannot be compared between the runs, or a
      direction that is none.
  """
  if given not in (None, 'min', 'max'):
    raise config_lib.UserError(f'direction = {given!r}: must be min (less is better) or max')
  for name, config in configs.items():
    known = of(config)
    if not isinstance(metric, str) or metric not in known:
      near = difflib.get_close_matches(str(metric), known, 1, 0)  # cutoff 0: always one
      raise config_lib.UserError(
        f'metric = {metric!r}: run {name} has no such score; did you mean {near[0]!r}? It has '
        f'{", ".join(known)}'
      )
  first, *others = configs.values()
  # That of the last stage is what a run is evaluated under.
  masking = lambda config: config_lib.final_stage(config).masking
  if metric.startswith(score_run.OWN + '_') and any(
    masking(each) != masking(first) for each in others
  ):
    raise config_lib.UserError(
      f'metric = {metric!r}: each run has it under its own masks, which differ between the arms; '
      f'take {metric.replace(score_run.OWN, score_run.REFERENCE, 1)!r}, which is reported under '
      'the masks of every arm too'
    )
  # What a discriminator detects is there at any rate; all else is of tokens that were hidden.
  if metric.startswith(score_run.OWN + '_') and 'rtd' not in metric:
    for name, config in configs.items():
      if schedules.make(masking(config)).mean_at(1.0) == 0:
        raise config_lib.UserError(
          f'metric = {metric!r}: run {name} hides nothing at the end of its training, so it has no '
          f'such score there; take {metric.replace(score_run.OWN, score_run.REFERENCE, 1)!r}'
        )
  return given or of(first)[metric]
