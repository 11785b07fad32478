"""A sweep's folder, read: one row a run, in the order of the plan."""

import dataclasses
import json
import math
import pathlib

from mlm_jax import config as config_lib
from mlm_jax.report import costs
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib

PLAN = 'sweep.json'
STATES = ('done', 'part way', 'diverged', 'failed', 'waiting')


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a sweep.

  Attributes:
    name, arm, seed, settings, total_steps: as planned; settings are dotted keys.
    folder: pathlib.Path.
    state: one of STATES.
    error: what one that failed or diverged ended with, or ''.
    values: {name: number}: step and what the newest evaluation says, what was spent until
      then, and, when done, bits_per_character; what is not known is not there. A number
      that is not finite is NaN.
    fingerprints: {name: what it is} that must be equal where losses are compared.
    unit: what its masking policy hides as a whole; '' where that is not known.
    curve: [(step, held-out reference loss)].
    slices: what slices.json holds, {} where there is none.
  """

  name: str
  arm: str
  seed: int
  settings: dict
  total_steps: int
  folder: pathlib.Path
  state: str
  error: str
  values: dict
  fingerprints: dict
  unit: str
  curve: list
  slices: dict


@dataclasses.dataclass(frozen=True)
class Sweep:
  """A sweep as planned, and as far as it has come.

  Attributes:
    folder: pathlib.Path.
    question, experiment, budget, baseline: as planned.
    negative_control: the arm that must lose if the sweep can tell arms apart, or None.
    runs: tuple of Run.
    base: {dotted key: value} of the config that the settings of runs differ from.
  """

  folder: pathlib.Path
  question: str
  experiment: str
  budget: str
  baseline: str
  negative_control: str | None
  runs: tuple
  base: dict

  @property
  def arms(self):
    """Names of the arms, in the order of the plan."""
    return list(dict.fromkeys(run.arm for run in self.runs))

  @property
  def seeds(self):
    return list(dict.fromkeys(run.seed for run in self.runs))

  @property
  def varied(self):
    """{dotted key: [its values, in the order of the plan]} of what differs between arms."""
    keys = dict.fromkeys(key for run in self.runs for key in run.settings if key != 'seed')
    values = {key: [self.setting(run, key) for run in self.runs] for key in keys}
    unique = {
      key: [each for n, each in enumerate(of_key) if each not in of_key[:n]]
      for key, of_key in values.items()
    }
    return {key: of_key for key, of_key in unique.items() if len(of_key) > 1}

  def setting(self, run, key):
    """Returns what a run has for a key, None where that is not known."""
    return run.settings.get(key, self.base.get(key))

  def of(self, arm, state=None):
    """Returns the runs of an arm, or those in a state."""
    return [run for run in self.runs if run.arm == arm and state in (None, run.state)]


def is_sweep(folder):
  """Returns whether a folder is that of a sweep."""
  return (pathlib.Path(folder) / PLAN).is_file()


def read(folder):
  """Returns the Sweep in a folder.

  Raises:
    UserError: it is empty, none of its runs has been evaluated, or a file is damaged.
  """
  folder = pathlib.Path(folder)
  plan = _json(folder / PLAN)
  states = _json(folder / 'status.json') if (folder / 'status.json').exists() else {}
  base = _json(folder / 'base.json') if (folder / 'base.json').exists() else {}
  try:
    runs = tuple(_run(folder, entry, states.get(entry['name']) or {}) for entry in plan['runs'])
    texts = [str(plan[key]) for key in ('question', 'experiment', 'budget', 'baseline')]
    sweep = Sweep(folder, *texts, plan.get('negative_control'), runs, config_lib.flatten(base))
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    raise config_lib.UserError(
      f'{folder / PLAN} is damaged ({type(error).__name__}: {error}); run '
      'mlm-jax sweep again to write it anew'
    ) from None
  _check(sweep)
  return sweep


def _check(sweep):
  """Raises UserError where there is nothing to report."""
  if not sweep.runs:
    raise config_lib.UserError(f'{sweep.folder} is an empty sweep: {PLAN} has no runs')
  for name in filter(None, (sweep.baseline, sweep.negative_control)):
    if name not in sweep.arms:
      raise config_lib.UserError(
        f'{sweep.folder / PLAN}: no arm is called {name!r}; there are {", ".join(sweep.arms)}'
      )
  if sweep.negative_control == sweep.baseline:
    raise config_lib.UserError(f'{sweep.folder / PLAN}: the arm that must lose is the baseline')
  if not any(run.curve for run in sweep.runs):
    raise config_lib.UserError(
      f'none of the {len(sweep.runs)} runs of {sweep.folder} has been evaluated '
      'yet; start or go on with mlm-jax sweep'
    )


def _json(path):
  """Returns the dict in a file; UserError where there is none."""
  try:
    content = json.loads(path.read_bytes())
  except OSError as error:
    raise config_lib.UserError(f'cannot read {path}: {error.strerror}') from None
  except ValueError as error:
    raise config_lib.UserError(f'{path} is damaged: {error}') from None
  if not isinstance(content, dict):
    raise config_lib.UserError(f'{path} is damaged: it must hold an object')
  return content


def _run(folder, entry, status):
  """Returns the Run of an entry of the plan; its logs may be missing."""
  place = folder / 'runs' / entry['name']
  evaluations = logs.read_log(place, 'evaluations')
  curve = [
    (line['step'], loss)
    for line in evaluations
    if (loss := _number(line, 'reference_loss', place)) is not None
  ]
  newest = evaluations[-1] if evaluations else {}
  outcome = workdir_lib.finished(place)
  done = outcome is not None and newest.get('step') == outcome['step']
  slices = _json(place / 'slices.json') if done and (place / 'slices.json').exists() else {}
  values = {
    name: _number(newest, name, place)
    for name in newest
    if name.startswith(('reference_', 'policy_', 'step'))
  }
  unit = ''
  if (place / 'config.json').exists():
    values |= costs.spent(place, newest.get('step', 0))
    unit = workdir_lib.read_config(place).masking.unit
  bits = slices.get('reference', {}).get('bits_per_character')
  values |= {'bits_per_character': bits} if bits is not None else {}
  lost = status['state'] if status.get('state') in ('failed', 'diverged') else None
  state = 'done' if done else lost or ('part way' if newest else 'waiting')
  return Run(
    entry['name'],
    entry['arm'],
    int(entry['seed']),
    dict(entry['settings']),
    int(entry['total_steps']),
    place,
    state,
    '' if done else str(status.get('error') or ''),
    values,
    _fingerprints(place),
    unit,
    curve,
    slices,
  )


def _number(line, name, place):
  """Returns a number of a log's line, NaN for null, None where it has none of this name."""
  value = line.get(name)
  if name in line and value is None:
    return math.nan
  if value is not None and type(value) not in (int, float):
    raise config_lib.UserError(
      f'{place}/evaluations.jsonl: {name} is {value!r} in the line of step '
      f'{line.get("step")!r}, not a number; remove that line'
    )
  return value


def _fingerprints(place):
  """Returns what must be equal where losses are compared, {} before a run has begun."""
  if not (place / 'environment.json').exists():
    return {}
  # Held-out rows are those of the last stage.
  config = config_lib.stages(workdir_lib.read_config(place))[-1][1]
  data = config.data
  start = (workdir_lib.read_environment(place) or [{}])[0]
  fingerprint = start.get(
    f'data_fingerprint_{data.row_length}x{data.max_segments}', start.get('data_fingerprint')
  )
  return {
    'tokenizer': start.get('tokenizer'),
    'row length': data.row_length,
    'held-out rows': config.evaluation.rows,
    'data': fingerprint,
  }
