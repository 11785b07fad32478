"""The results of a sweep, read from its folder: one Run per run, in the order of the plan."""

from collections.abc import Mapping
import dataclasses
import math
import os
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.evaluation import cross_scores
from mlm_jax.evaluation import segment_scores
from mlm_jax.report import comparisons
from mlm_jax.report import costs
from mlm_jax.report import judges as judges_lib
from mlm_jax.report import run_logs
from mlm_jax.report import task_scores
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib

PLAN = 'sweep.json'
_TASK = ('test_', 'validation_')  # how the metrics of fine-tuning begin
STATES = ('done', 'part way', 'diverged', 'failed', 'waiting')


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a sweep.

  Attributes:
    name, arm, seed, settings, total_steps: as planned; settings are dotted keys.
    folder: pathlib.Path.
    state: one of STATES.
    error: the error that a failed or diverged run ended with, or ''.
    values: {name: number}: step and scores of the newest evaluation, what was spent until
      then, and, when done, bits_per_character; without the names of unknown numbers. A number
      that is not finite is NaN. Of a fine-tuned run that is done, the scores are those of its best
      checkpoint, also on the test examples (test_NAME).
    fingerprints: {name: value} that must be equal where losses are compared.
    masking: the policy of its last stage, as a dict; {} where that is not known.
    scores: {policy: {metric: number}}, when done, of the policies that it was scored under.
    curve: [(step, held-out reference loss)], or of fine-tuning the score on validation examples.
    slices: what slices.json holds, {} where there is none.
    segments: when done, its scores by segment; None where there are none.
    judged: {judge: score}, when done, of the judges that have judged it.
  """

  name: str
  arm: str
  seed: int
  settings: dict[str, Any]
  total_steps: int
  folder: pathlib.Path
  state: str
  error: str
  values: dict[str, float]
  fingerprints: dict[str, Any]
  masking: dict[str, Any]
  scores: dict[str, dict[str, float]]
  curve: list[tuple[int, float]]
  slices: dict[str, Any]
  segments: segment_scores.SegmentScores | None = None
  judged: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Sweep:
  """A sweep as planned, and its results so far.

  Attributes:
    folder: pathlib.Path.
    question, experiment, budget, baseline: as planned.
    negative_control: the arm that must be worse than the baseline, or None.
    metric, direction: the value of a run that arms are compared by; 'min' where less is better,
      else 'max'.
    policies: {policy: its settings} of those that the arms train with and every run is scored
      under, beside the reference policy; {} where all arms train with one.
    reference: the name of the policy of an arm that is the reference policy, '' for none.
    contrasts: comparisons.Named.
    runs: tuple of Run.
    base: {dotted key: value} of the config that the settings of runs differ from.
    judges: tuple of judges.Judge.
  """

  folder: pathlib.Path
  question: str
  experiment: str
  budget: str
  baseline: str
  negative_control: str | None
  metric: str
  direction: str
  policies: dict[str, dict[str, Any]]
  reference: str
  contrasts: comparisons.Named
  runs: tuple[Run, ...]
  base: dict[str, Any]
  judges: tuple[judges_lib.Judge, ...] = ()

  @property
  def arms(self) -> list[str]:
    """Names of the arms, in the order of the plan."""
    return list(dict.fromkeys(run.arm for run in self.runs))

  @property
  def seeds(self) -> list[int]:
    """The seeds, in the order of the plan."""
    return list(dict.fromkeys(run.seed for run in self.runs))

  @property
  def varied(self) -> dict[str, list[Any]]:
    """{dotted key: [its values, in the order of the plan]} of what differs between arms."""
    keys = dict.fromkeys(key for run in self.runs for key in run.settings if key != 'seed')
    # A key that one arm sets and another leaves at the base's value is varied too.
    values = {key: [self.setting(run, key) for run in self.runs] for key in keys}
    unique = {
      key: [each for n, each in enumerate(of_key) if each not in of_key[:n]]
      for key, of_key in values.items()
    }
    return {key: of_key for key, of_key in unique.items() if len(of_key) > 1}

  @property
  def score(self) -> str:
    """The metric without the policy that it is under: loss of reference_loss."""
    return self.metric.partition('_')[2]

  @property
  def fine_tunes(self) -> bool:
    """Whether its runs are of fine-tuning."""
    return self.metric.startswith(_TASK)

  @property
  def curve_score(self) -> str:
    """What the curves of its runs are of, a field of evaluations.jsonl."""
    return _curve_field(self.metric)

  @property
  def hides_differently(self) -> bool:
    """Whether the arms train with different policies."""
    known = [run.masking for run in self.runs if run.masking]
    return bool(self.policies) or any(each != known[0] for each in known)

  def setting(self, run: Run, key: str) -> Any:
    """Returns a run's value of a setting, None where that is not known."""
    return run.settings.get(key, self.base.get(key))

  def of(self, arm: str, state: str | None = None) -> list[Run]:
    """Returns the runs of an arm, only those in `state` where it is given."""
    return [run for run in self.runs if run.arm == arm and state in (None, run.state)]


def is_sweep(folder: str | os.PathLike[str]) -> bool:
  """Whether a folder is that of a sweep."""
  return (pathlib.Path(folder) / PLAN).is_file()


def read(folder: str | os.PathLike[str]) -> Sweep:
  """Returns the Sweep in a folder.

  Raises:
    UserError: it is empty, none of its runs has been evaluated, or a file is damaged.
  """
  folder = pathlib.Path(folder)
  # Only sweep.json must be there: a sweep that has just begun has no more.
  plan = run_logs.read_object(folder / PLAN)
  states = (
    run_logs.read_object(folder / 'status.json') if os.path.lexists(folder / 'status.json') else {}
  )
  base = run_logs.read_object(folder / 'base.json') if os.path.lexists(folder / 'base.json') else {}
  try:
    named = {str(name): dict(each) for name, each in plan.get('policies', {}).items()}
    policies = cross_scores.beside_reference(named)
    # A sweep of an earlier version names none.
    metric, judges = str(plan.get('metric', 'reference_loss')), judges_lib.read(plan)
    runs = tuple(
      _run(folder, entry, states.get(entry['name']) or {}, policies, metric, judges)
      for entry in plan['runs']
    )
    sweep = Sweep(
      folder,
      question=str(plan['question']),
      experiment=str(plan['experiment']),
      budget=str(plan['budget']),
      baseline=str(plan['baseline']),
      negative_control=plan.get('negative_control'),
      metric=metric,
      direction=str(plan.get('direction', 'min')),
      policies=policies,
      reference=next((name for name in named if name not in policies), ''),
      contrasts=comparisons.read(plan),
      runs=runs,
      base=config_lib.flatten(base),
      judges=judges,
    )
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    raise config_lib.UserError(
      f'{folder / PLAN} is damaged ({type(error).__name__}: {error}); run '
      'mlm-jax sweep to write it again'
    ) from None
  _check(sweep)
  return sweep


def _check(sweep: Sweep) -> None:
  """Raises UserError where there is nothing to report."""
  if not sweep.runs:
    raise config_lib.UserError(f'{sweep.folder} is an empty sweep: {PLAN} has no runs')
  for name in filter(None, (sweep.baseline, sweep.negative_control)):
    if name not in sweep.arms:
      raise config_lib.UserError(
        f'{sweep.folder / PLAN}: no arm is called {name!r}; there are {", ".join(sweep.arms)}'
      )
  if sweep.negative_control == sweep.baseline:
    raise config_lib.UserError(
      f'{sweep.folder / PLAN}: the negative control is the baseline itself'
    )
  if sweep.direction not in ('min', 'max'):
    raise config_lib.UserError(
      f'{sweep.folder / PLAN}: direction is {sweep.direction!r}; it must be min or max'
    )
  if not any(run.curve for run in sweep.runs):
    raise config_lib.UserError(
      f'none of the {len(sweep.runs)} runs of {sweep.folder} has been evaluated '
      'yet; start or resume it with mlm-jax sweep'
    )


def _run(
  folder: pathlib.Path,
  entry: Mapping[str, Any],
  status: Mapping[str, Any],
  policies: Mapping[str, dict[str, Any]],
  metric: str,
  judges: tuple[judges_lib.Judge, ...],
) -> Run:
  """Returns the Run of an entry of the plan; its logs may be missing."""
  place = folder / 'runs' / entry['name']
  evaluations = logs.read_log(place, 'evaluations')
  newest = evaluations[-1] if evaluations else {}
  # Saved and evaluated: a run that is stopped between the two is not done.
  outcome = workdir_lib.finished(place)
  done = outcome is not None and newest.get('step') == outcome['step']
  # Null is a log's word for what is not finite, which is no result, whatever else says so.
  diverged = workdir_lib.diverged(place)
  if done and None in newest.values():
    done, diverged = False, {'reason': 'its last evaluation is not finite'}
  # Slices are scored at the end of a run; a file in an unfinished one is of an earlier end.
  slices = run_logs.slices(place) if done else {}
  values: dict[str, Any] = {
    name: _number(newest, name, place)
    for name in newest
    if name.startswith(('reference_', 'policy_', 'validation_', 'step'))
  }
  values |= _of_best(place, evaluations) if done else {}
  # The other states of status.json are those of the moment in which it was written.
  lost = status['state'] if status.get('state') in ('failed', 'diverged') else None
  lost = 'diverged' if diverged else lost
  error = diverged['reason'] if diverged else status.get('error')
  has_started = os.path.lexists(place / 'environment.json')
  config = None
  if has_started or os.path.lexists(place / 'config.json'):
    config = workdir_lib.read_config(place)
    # Up to the evaluation, not to the newest step: cost and loss must belong together.
    values |= costs.spent(place, config, newest['step'] if newest else 0)
    # Trained on by hand: it has more steps than those that it would be compared with.
    if config.total_steps != int(entry['total_steps']):
      done, lost = False, 'failed'
      error = f'it has {config.total_steps} steps, {entry["total_steps"]} were planned'
  state = 'done' if done else lost or ('part way' if newest else 'waiting')
  bits = slices.get('reference', {}).get('bits_per_character')
  values |= {'bits_per_character': bits} if bits is not None else {}
  return Run(
    entry['name'],
    entry['arm'],
    int(entry['seed']),
    dict(entry['settings']),
    int(entry['total_steps']),
    place,
    state,
    '' if done else str(error or ''),
    values,
    run_logs.fingerprints(place, config) if config is not None and has_started else {},
    _masking(config),
    _scores(place, outcome['step'], policies) if done and outcome else {},
    _curve(evaluations, place, _curve_field(metric)),
    slices,
    segment_scores.read(place, outcome['step']) if done and outcome else None,
    judges_lib.values(place, outcome['step'], judges) if done and outcome else {},
  )


def _masking(config: config_lib.Config | None) -> dict[str, Any]:
  """Returns the policy of a config's last stage, {} where that is not known or there is none."""
  if config is None or 'masking' not in config:
    return {}
  return config_lib.final_stage(config).masking.to_dict()


def _of_best(place: pathlib.Path, evaluations: list[dict]) -> dict[str, Any]:
  """Returns the scores of the checkpoint that a fine-tuned run has kept, {} of any other run."""
  scored = task_scores.test(place)
  if scored is None:
    return {}
  line = next((each for each in evaluations if each['step'] == scored.step), {})
  values = {name: _number(line, name, place) for name in line if name.startswith('validation_')}
  on_test = scored.scores if scored.split == 'test' else {}
  return {**values, **{f'test_{name}': value for name, value in on_test.items()}}


def _curve_field(metric: str) -> str:
  """Returns the field of evaluations.jsonl whose curve belongs to a sweep's metric."""
  score = metric.partition('_')[2]
  return f'validation_{score}' if metric.startswith(_TASK) else 'reference_loss'


def _curve(evaluations: list[dict], place: pathlib.Path, field: str) -> list[tuple[int, float]]:
  """Returns (step, value of a field) of each evaluation that has one."""
  return [
    (line['step'], value)
    for line in evaluations
    if (value := _number(line, field, place)) is not None
  ]


def _scores(
  place: pathlib.Path, step: int, policies: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, float]]:
  """Returns {policy: {metric: number}} of what a run was scored under at a step."""
  entries = cross_scores.read(place, step)
  found = {name: cross_scores.find(entries, settings) for name, settings in policies.items()}
  return {
    name: {
      metric: math.nan if value is None else value
      for metric, value in entry.items()
      if metric != 'masking'
    }
    for name, entry in found.items()
    if entry is not None
  }


def _number(line: Mapping[str, Any], name: str, place: pathlib.Path) -> float | None:
  """Returns a number of a log's line, NaN for null, None where it has none of this name."""
  value = line.get(name)
  if name in line and value is None:  # JSON has no NaN: logs have null for it
    return math.nan
  if value is not None and type(value) not in (int, float):
    raise config_lib.UserError(
      f'{place}/evaluations.jsonl: {name} is {value!r} in the line of step '
      f'{line.get("step")!r}, not a number; remove that line'
    )
  return value
