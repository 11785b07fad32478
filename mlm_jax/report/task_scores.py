"""What a fine-tuned run has been scored with: its curves, its test scores and its errors."""

from collections.abc import Sequence
import json
import math
import os
import pathlib
from typing import Any
from typing import NamedTuple

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax.data.examples import store
from mlm_jax.evaluation import examples
from mlm_jax.evaluation import resampling
from mlm_jax.report import run_logs
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib

_Path = str | os.PathLike[str]
_SAME = 1e-5  # what is written down is rounded
_HEADER = f'{"run":<30} {"scored on":<10} {"step":>8}  scores'


class Test(NamedTuple):
  """What test.json says.

  Attributes:
    split: 'test', or 'validation' of a run without test examples.
    step: of the model.
    examples: how many there are.
    scores: {metric: number, NaN where it was not finite}.
    errors: as the task has it, such as confusions.
  """

  split: str
  step: int
  examples: int
  scores: dict[str, float]
  errors: dict[str, Any]


def metrics(config: config_lib.Config) -> dict[str, str]:
  """Returns {metric: 'min' or 'max', which is better} of a config's task; the first one ranks."""
  return downstream.load(config.task.name).metrics(config.task)


def ranks(config: config_lib.Config) -> str:
  """Returns the metric that chooses the checkpoint."""
  return next(iter(metrics(config)))


def test(workdir: _Path) -> Test | None:
  """Returns what test.json says, None where a run has none; UserError where it is damaged."""
  path = pathlib.Path(workdir) / examples.TEST
  if not path.exists():
    return None
  said = run_logs.read_object(path)
  try:
    scores = {
      str(name): float('nan') if value is None else float(value)
      for name, value in said['scores'].items()
    }
    return Test(said['split'], said['step'], said['examples'], scores, dict(said['errors']))
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise config_lib.UserError(
      f'{path} is damaged ({type(error).__name__}: {error}); remove it'
    ) from None


def predictions(workdir: _Path) -> list[dict[str, Any]]:
  """Returns the lines of predictions.jsonl, [] without one; UserError where it is damaged."""
  path = pathlib.Path(workdir) / examples.PREDICTIONS
  if not path.exists():
    return []
  try:
    lines = [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
    assert all(isinstance(line, dict) for line in lines)
  except (ValueError, AssertionError) as error:
    raise config_lib.UserError(f'{path} is damaged ({error}); remove it') from None
  return lines


def worst(lines: Sequence[dict[str, Any]], most: int) -> list[tuple[float | None, dict[str, Any]]]:
  """Returns (confidence, line) of wrong predictions, the most confident ones first.

  Args:
    lines: of predictions.jsonl.
    most: how many at most.
  """
  wrong = [line for line in lines if 'label' in line and line['label'] != line.get('prediction')]
  found = [(_confidence(line), line) for line in wrong]
  return sorted(found, key=lambda each: -(each[0] or 0.0))[:most]


def _confidence(line: dict[str, Any]) -> float | None:
  """Returns the probability of what was wrongly said, None where a task gives none."""
  probability, said, label = (line.get(key) for key in ('probabilities', 'prediction', 'label'))
  if not isinstance(probability, dict) or not probability:
    return None
  if isinstance(said, str):
    return probability.get(said)
  # Of several labels: the one that is most wrong, whether it was said or left out.
  return max(1 - p if name in (label or ()) else p for name, p in probability.items())


def intervals(
  workdir: _Path, config: config_lib.Config, scored: Test | None
) -> dict[str, tuple[float, float]]:
  """Returns {metric: 95 % interval over other examples}, see evaluation.resampling.

  There is none of a score that predictions.jsonl does not give again.

  Raises:
    UserError: it is damaged.
  """
  lines, path = predictions(workdir), pathlib.Path(workdir) / store.FACTS
  if scored is None or not lines or not path.exists():
    return {}
  facts = run_logs.read_object(path)
  try:
    sums = downstream.sums(downstream.load(config.task.name), lines, facts)
    whole = {} if sums is None else sums.whole
  except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
    raise config_lib.UserError(
      f'{workdir}/{examples.PREDICTIONS} is damaged ({type(error).__name__}: {error}); remove it'
    ) from None
  same = {
    name for name, value in whole.items() if abs(scored.scores.get(name, math.nan) - value) < _SAME
  }
  found = resampling.intervals(sums) if sums is not None and same else {}
  return {name: each for name, each in found.items() if name in same}


def lacking(workdir: _Path) -> list[str]:
  """Returns a sentence for each thing that a fine-tuned run has not, or not yet."""
  config = workdir_lib.read_config(workdir)
  said = run_logs.untrained(workdir, config)
  if not run_logs.values(workdir, 'evaluations', f'validation_{ranks(config)}'):
    said.append(
      'It has no validation scores: it has not been evaluated yet '
      f'(config.evaluation.every is {config.evaluation.every}).'
    )
  said += run_logs.unsaved(workdir, config)
  scored = test(workdir)
  if scored is None:
    said.append('It has no final scores: test.json is written at the end of a run.')
  elif scored.split != 'test':
    said.append(
      'It has no test examples (config.task.test): its scores are those of the validation examples '
      'that have chosen its checkpoint, so they are too good.'
    )
  return said


def table(workdirs: Sequence[_Path]) -> list[str]:
  """Returns lines of text: the last scores of each fine-tuned run."""
  lines, different = [_HEADER], set()
  for workdir in workdirs:
    config, scored = workdir_lib.read_config(workdir), test(workdir)
    split, step, scores = 'validation', 0, {}
    if scored is not None:
      split, step, scores = scored.split, scored.step, scored.scores
      told = run_logs.fingerprints(workdir, config)
      different.add((told['task'], told[f'{split} examples']))
    elif newest := logs.read_log(workdir, 'evaluations')[-1:]:
      step = newest[0]['step']
      given = {name: newest[0].get(f'validation_{name}') for name in metrics(config)}
      scores = {name: value for name, value in given.items() if value is not None}
    said = ', '.join(f'{name} {value:.4f}' for name, value in scores.items()) or '-'
    if diverged := workdir_lib.diverged(workdir):
      step, said = diverged['step'], 'diverged'
    lines.append(f'{run_logs.name(workdir):<30} {split:<10} {step:>8}  {said}')
  if len(different) > 1:
    lines.append('The runs are not scored on the same examples: their scores are not comparable.')
  return lines
