"""Fine-tuning: each run is trained further on the examples of a task, by one recipe, and scored.

A fine-tuned run lies in the folder of the run that it starts from, judges/NAME, and has its seed.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import difflib
import functools
import json
import math
import pathlib
import tempfile
import typing
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax.report import task_scores
from mlm_jax.sweeps import finetuned
from mlm_jax.sweeps import judges
from mlm_jax.tasks import finetuning
from mlm_jax.tasks import finetuning_data
from mlm_jax.training import loop
from mlm_jax.training import trackers
from mlm_jax.training import workdir as workdir_lib

if typing.TYPE_CHECKING:
  from mlm_jax.sweeps import planning

FOLDER = 'judges'
# What the run that is judged decides.
_OWN = ('init_from', 'seed', 'data.prepared', 'task.from_scratch')
_FILES = ('train', 'validation', 'test')


@dataclasses.dataclass(frozen=True)
class FineTuned:
  """Judges by a score after fine-tuning.

  Attributes:
    recipe: of fine-tuning, as mlm-jax finetune --config takes it, or a config.
    settings: {dotted key: value} laid over it.
    metric: test_NAME of the task's metrics, validation_NAME without test examples; None for the
      first one.
  """

  recipe: str | config_lib.Config
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  metric: str | None = None

  def ready(self, name: str, runs: 'Sequence[planning.Run]') -> judges.Ready:
    """See judges.Judge."""
    base = self._base()
    trials = [_trial(base, run) for run in judges.of_arms(runs)]
    first = trials[0]
    trackers.check(first)
    rows = len(finetuning_data.splits_of(first)['train'])
    metrics = _metrics(first)
    metric = next(iter(metrics)) if self.metric is None else self.metric
    if metric not in metrics:
      near = difflib.get_close_matches(str(metric), metrics, 1, 0)  # cutoff 0: always one
      raise config_lib.UserError(
        f'metric = {metric!r}: there is no such score; did you mean {near[0]!r}? There are '
        f'{", ".join(metrics)}'
      )
    steps = base.total_steps or max(1, math.ceil(base.epochs * rows / base.batch_size))

    return judges.Ready(
      score=metric,
      direction=metrics[metric],
      asked=_asked(base),
      same_tokens=False,
      what=f'{metric} after up to {steps:,} steps of fine-tuning',
      tokens=lambda run: float(steps * base.batch_size * base.data.row_length),
      passes=3,
      judge=functools.partial(_judge, base, metric, name),
    )

  def _base(self) -> config_lib.Config:
    """Returns the recipe with the settings."""
    if not isinstance(self.settings, Mapping):
      raise config_lib.UserError(f'settings = {self.settings!r}: must be {{dotted key: value}}')
    recipe = config_lib.load(self.recipe) if isinstance(self.recipe, str) else self.recipe
    if not config_lib.is_config(recipe) or 'task' not in recipe:
      raise config_lib.UserError(
        f'recipe = {config_lib.one_line(repr(self.recipe), 60)}: must be of fine-tuning, such as '
        'finetune/classification'
      )
    own = [key for key in _OWN if key in self.settings] + ['init_from'] * bool(recipe.init_from)
    if own:
      raise config_lib.UserError(f'config.{own[0]}: leave it to the runs that are judged')
    return config_lib.overlay(recipe, self.settings)


def _trial(base: config_lib.Config, run: 'planning.Run') -> config_lib.Config:
  """Returns the config of a run's fine-tuning, checked as far as that can be before it is there."""
  with tempfile.TemporaryDirectory() as folder:
    workdir_lib.write_config(folder, run.config)
    try:
      return finetuned.resolve(config_lib.overlay(base, {'init_from': folder}))
    except config_lib.UserError as error:
      raise config_lib.UserError(f'run {run.name}: {str(error).replace(folder, "it")}') from None


def _metrics(config: config_lib.Config) -> dict[str, str]:
  """Returns {score: which is better} of what test.json will hold; the first one ranks."""
  found = finetuned.metrics(config)
  split = next(iter(found)).partition('_')[0]
  return {name: mode for name, mode in found.items() if name.startswith(split)}


def _asked(base: config_lib.Config) -> dict[str, Any]:
  """Returns what decides about the scores: the settings, and the contents of the files."""
  settings = {key: new for key, new, _ in config_lib.differences(base, config_lib.finetuning())}
  kind = downstream.load(base.task.name)
  for key in _FILES:
    if path := base.task[key]:
      files = downstream.files(kind, path)
      settings[f'task.{key}'] = [judges.digest(each) for each in files]
  return json.loads(json.dumps({'finetune': settings}))


def _judge(
  base: config_lib.Config,
  metric: str,
  name: str,
  run: 'planning.Run',
  folder: pathlib.Path,
  step: int,
  log: judges.Log,
) -> dict[str, float] | None:
  """Fine-tunes a run, or resumes that; returns the scores, None where a signal has stopped it."""
  place = folder / FOLDER / name
  config = config_lib.overlay(base, {'init_from': str(folder.absolute()), 'seed': run.seed})
  # Runs with one tokenizer share the examples.
  data = folder.parents[1] / finetuned.data_folder(config, base)
  config = config_lib.overlay(config, {'data.prepared': str(data.absolute())})
  # Only what a person must know: the run's own folder has the rest.
  warnings = lambda line: log(line) if line.startswith('warning') else None
  try:
    if not finetuning.run(config, place, warnings):
      return None
  except loop.Diverged as error:
    log(f'{folder.name}: {error}')
    return {metric: math.nan}
  scored = task_scores.test(place)
  if scored is None:
    raise config_lib.UserError(f'{place} has no test.json; remove that folder')
  return {f'{scored.split}_{name}': value for name, value in scored.scores.items()}
