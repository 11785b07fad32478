"""From a Sweep to the runs that it asks for, checked before any of them starts."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib

from mlm_jax import config as config_lib
from mlm_jax.sweeps import algebra
from mlm_jax.sweeps import contrasts
from mlm_jax.sweeps import judges as judges_lib
from mlm_jax.sweeps import kinds
from mlm_jax.sweeps import metrics
from mlm_jax.sweeps import names
from mlm_jax.sweeps import policies
from mlm_jax.training import trackers


@dataclasses.dataclass(frozen=True)
class Sweep:
  """What an experiment's get_sweep() returns.

  An arm is all settings but the seed. Every arm has the same seeds, so that arms can be
  compared in pairs: runs of one seed share their initialisation and the order of the data.

  Attributes:
    base: the config that all runs start from.
    runs: a list of {dotted key: value}, one dict per run (see algebra).
    question: one sentence.
    budget: what every arm spends as much of as the baseline: 'tokens', 'predictions' or 'flops' in
      pretraining, 'epochs' or 'steps' in fine-tuning; the first of these if None.
    baseline: name of the arm that the others are compared with; the first one if None.
    negative_control: name of an arm that is known to be worse: a sweep that cannot show that
      cannot show anything else either.
    metric: the held-out score that arms are compared by, a field of evaluations.jsonl, or test_NAME
      of the scores of test.json; None for the held-out loss in pretraining, in fine-tuning for the
      first metric of the task.
    direction: 'min' where less of it is better, else 'max'; None for what the metric says.
    contrasts: (arm, other) of each comparison that is to be tested, in place of all arms with the
      baseline; under the masks of a policy where its name is the third. Named before there are
      results: of those named later nothing is claimed.
    judges: {name: HeldOut, ZeroShot or FineTuned}: what the arms are for. Every finished run is
      judged by each, and the report compares the arms by all of them together.
  """

  base: config_lib.Config
  runs: list[algebra.Settings]
  question: str
  budget: str | None = None
  baseline: str | None = None
  negative_control: str | None = None
  metric: str | None = None
  direction: str | None = None
  contrasts: Sequence[Sequence[str]] = ()
  judges: Mapping[str, judges_lib.Judge] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
  """One planned run.

  Attributes:
    name: of its folder, ARM_seed=SEED.
    arm: name of all its settings but the seed.
    seed: its seed.
    settings: {dotted key: value}, what the sweep lays over the base.
    config: resolved, with its own total_steps and its data.prepared.
  """

  name: str
  arm: str
  seed: int
  settings: algebra.Settings
  config: config_lib.Config


@dataclasses.dataclass(frozen=True)
class Plan:
  """A checked sweep.

  Attributes:
    sweep: Sweep, with what it leaves open filled in, its contrasts as comparisons.
    experiment: the experiment's folder, as text.
    runs: tuple of Run, in the sweep's order.
    judges: {name: the judge, checked}.
  """

  sweep: Sweep
  experiment: str
  runs: tuple[Run, ...]
  judges: dict[str, judges_lib.Ready] = dataclasses.field(default_factory=dict)

  @property
  def arms(self) -> dict[str, tuple[Run, ...]]:
    """{arm: tuple of its runs}, in the sweep's order."""
    return {
      arm: tuple(run for run in self.runs if run.arm == arm)
      for arm in dict.fromkeys(run.arm for run in self.runs)
    }


def load(experiment: str | os.PathLike[str]) -> Sweep:
  """Returns the Sweep of an experiment's folder.

  Raises:
    UserError: there is no sweep.py, it fails, or what it returns is not a sweep.
  """
  return checked(*called(experiment))


def called(experiment: str | os.PathLike[str]) -> tuple[pathlib.Path, object]:
  """Returns (sweep.py of an experiment's folder, what its get_sweep() returns).

  Raises:
    UserError: there is no sweep.py, or it fails.
  """
  path = pathlib.Path(experiment) / 'sweep.py'
  if path.parent.is_file():
    raise config_lib.UserError(
      f'{experiment} is a file: give the folder that sweep.py is in, {path.parent.parent}'
    )
  if not path.is_file():
    raise config_lib.UserError(f'no such experiment: {path} is missing')
  return path, config_lib.call(path, 'get_sweep')


def checked(path: pathlib.Path, sweep: object, name: str = '') -> Sweep:
  """Returns what get_sweep() of a file has returned, or what it has under a name, as a Sweep.

  Raises:
    UserError: it is none.
  """
  if isinstance(sweep, dict):
    raise config_lib.UserError(
      f'{path}: get_sweep returned {len(sweep)} sweeps by name, where one is asked for'
    )
  if not isinstance(sweep, Sweep):
    where, what = f' as {name}' if name else '', config_lib.one_line(repr(sweep), 80)
    raise config_lib.UserError(
      f'{path}: get_sweep returned {what}{where}; it must return a sweeps.Sweep(...)'
    )
  # get_sweep is the user's Python, so what it returns is checked before it is used.
  try:
    _check_form(sweep)
  except config_lib.UserError as error:
    raise config_lib.UserError(f'{path}: {f"{name}: " if name else ""}{error}') from None
  return sweep


def _check_form(sweep: object) -> None:
  """Raises UserError where the parts of a Sweep are not what they must be."""
  if not isinstance(sweep, Sweep):
    raise config_lib.UserError(f'sweep = {sweep!r}: must be a sweeps.Sweep(...)')
  if not config_lib.is_config(sweep.base):
    raise config_lib.UserError(f'base = {sweep.base!r}: must be a config, such as config.base()')
  try:
    config_lib.check(sweep.base)
  except config_lib.UserError as error:
    raise config_lib.UserError(f'base: {error}') from None
  is_settings = lambda each: isinstance(each, dict) and all(isinstance(key, str) for key in each)
  if not isinstance(sweep.runs, list) or not sweep.runs or not all(map(is_settings, sweep.runs)):
    raise config_lib.UserError(
      'runs: must be a list of one dict {dotted key: value} per run, such as '
      "sweeps.product(sweeps.param('masking.rate', [0.15, 0.3]), sweeps.seeds(3))"
    )
  if not isinstance(sweep.question, str) or not sweep.question.strip():
    raise config_lib.UserError(f'question = {sweep.question!r}: must be a sentence')
  # By type first: a comparison with an array gives no answer.
  for role in ('baseline', 'negative_control', 'direction'):
    if not isinstance(getattr(sweep, role), str | None):
      raise config_lib.UserError(f'{role} = {getattr(sweep, role)!r}: must be text or None')
  _budget(sweep)


def _budget(sweep: Sweep) -> str:
  """Returns the budget of a Sweep; UserError for one that its kind of run has not."""
  known = kinds.of(sweep.base).BUDGETS
  if not isinstance(sweep.budget, str | None) or sweep.budget not in (None, *known):
    what = 'fine-tuning' if 'task' in sweep.base else 'pretraining'
    raise config_lib.UserError(
      f'budget = {sweep.budget!r}: must be one of {", ".join(known)} in {what}'
    )
  return sweep.budget or known[0]


def plan(
  sweep: Sweep,
  experiment: str | os.PathLike[str],
  workdir: str | os.PathLike[str],
  log: Callable[[str], None] = print,
) -> Plan:
  """Returns the Plan of a sweep in a work directory.

  Where the steps depend on the contents of the rows, as for a budget of predictions or in
  fine-tuning, the data is prepared first.

  Raises:
    UserError: settings that do not exist or cannot work, equal runs, arms with other seeds than
      the first, a metric, arm or policy that does not exist, a judge that cannot judge, an arm that
      cannot spend the budget; anything that is wrong with the data.
  """
  _check_form(sweep)
  config_lib.check_folder('experiment', experiment)
  config_lib.check_folder('workdir', workdir)
  budget = _budget(sweep)
  # Runs may be trained from another working directory, so paths in configs are absolute.
  runs = tuple(_drafts(sweep, pathlib.Path(workdir).absolute()))
  _check_distinct(runs)
  _check_seeds(runs)
  arms = list(dict.fromkeys(run.arm for run in runs))
  configs = {run.name: run.config for run in runs}
  metric = metrics.default(runs[0].config) if sweep.metric is None else sweep.metric
  sweep = dataclasses.replace(
    sweep,
    baseline=arms[0] if sweep.baseline is None else sweep.baseline,
    budget=budget,
    metric=metric,
    direction=metrics.direction(metric, sweep.direction, configs),
    contrasts=contrasts.check(sweep.contrasts, arms, policies.differing(runs)),
  )
  for role, arm in (('baseline', sweep.baseline), ('negative_control', sweep.negative_control)):
    if arm is not None:
      contrasts.check_name(role, 'arm', arm, arms)
  if sweep.negative_control == sweep.baseline:
    raise config_lib.UserError(
      f'negative_control = {sweep.negative_control!r}: must be another arm than the baseline'
    )
  judges = judges_lib.ready(sweep.judges, runs)
  if kinds.of(sweep.base).needs_data(budget):
    prepare_data(runs, log)
  return Plan(sweep, str(experiment), _budgeted(runs, sweep), judges)


def _drafts(sweep: Sweep, workdir: pathlib.Path) -> Iterator[Run]:
  """Yields the runs as they would be without a budget."""
  keys = list(dict.fromkeys(key for settings in sweep.runs for key in settings))
  kind = kinds.of(sweep.base)
  for settings in sweep.runs:
    arm = names.arm(settings, keys)
    name = names.run(arm, settings.get('seed', sweep.base.seed))
    with _named(name):
      config = config_lib.overlay(sweep.base, settings)
      folder = _data_folder(config, sweep.base, workdir)
      # Resolved last: whatever the settings imply then follows from all of them.
      config = kind.resolve(config_lib.overlay(config, {'data.prepared': folder}))
    yield Run(name, arm, config.seed, settings, config)


def _data_folder(config: config_lib.Config, base: config_lib.Config, workdir: pathlib.Path) -> str:
  """Returns where a run's data is prepared: runs with the same data settings share a folder."""
  if config.data.prepared:  # named by the user
    return config.data.prepared
  return str(workdir / kinds.of(base).data_folder(config, base))


def _check_distinct(runs: Iterable[Run]) -> None:
  """Raises UserError where two runs would share a folder, or differ in nothing but the name."""
  by_name: dict[str, Run] = {}
  by_config: dict[str, Run] = {}
  for run in runs:
    # Some file systems do not distinguish upper and lower case: two names would be one folder.
    other = by_name.setdefault(run.name.casefold(), run)
    # Two settings can mean one config, such as a default written out. Such a pair would look like
    # two independent runs that agree perfectly.
    twin = by_config.setdefault(config_lib.to_json(run.config), run)
    if other is not run:
      name = run.name if run.name == other.name else f'{run.name}, except for letter case'
      raise config_lib.UserError(
        f'two runs have the name {name}: {run.settings} and {other.settings}'
      )
    if twin is not run:
      raise config_lib.UserError(
        f'the runs {twin.name} and {run.name} are the same: their configs do not differ'
      )


def _check_seeds(runs: Iterable[Run]) -> None:
  """Raises UserError where the arms do not share their seeds."""
  seeds: dict[str, list[int]] = {}
  for run in runs:
    seeds.setdefault(run.arm, []).append(run.seed)
  first, wanted = next(iter(seeds.items()))
  for arm, ours in seeds.items():
    odd = sorted(set(wanted) ^ set(ours))  # in one of the two only
    if odd:
      raise config_lib.UserError(
        f'the arms {first} and {arm} must have the same seeds to be compared in '
        f'pairs; seed {odd[0]} is in one of them only'
      )


def _budgeted(runs: Sequence[Run], sweep: Sweep) -> tuple[Run, ...]:
  """Returns the runs with the steps that let each spend what the baseline spends."""
  baseline = next(run for run in runs if run.arm == sweep.baseline)
  kind, budget = kinds.of(sweep.base), _budget(sweep)
  spent = kind.cost(baseline.config)[budget]
  steps: dict[str, int] = {}
  made = []
  for run in runs:
    with _named(run.name):
      # Once per arm: a seed changes no cost.
      if run.arm not in steps:
        steps[run.arm] = kind.steps(run.config, budget, spent)
      made.append(dataclasses.replace(run, config=_with_steps(run, steps[run.arm], sweep)))
  return tuple(made)


def _with_steps(run: Run, steps: int, sweep: Sweep) -> config_lib.Config:
  """Returns a run's config with another number of steps."""
  kind = kinds.of(run.config)
  if steps == kind.own_steps(run.config):
    return kind.with_steps(run.config, steps)
  why = f'the same budget of {sweep.budget} as {sweep.baseline} needs {steps} steps'
  # Two wishes that contradict each other are refused; neither is silently dropped.
  for key in kind.LENGTHS:
    if key in run.settings:
      raise config_lib.UserError(
        f'config.{key} = {run.settings[key]}: {why}; leave it to the budget'
      )
  if 'stages' in run.config and run.config.stages:
    raise config_lib.UserError(
      f'config.stages: {why}, and stages are not stretched; give them the steps themselves'
    )
  return kind.with_steps(run.config, steps)


def prepare_data(runs: Iterable[Run], log: Callable[[str], None] = print) -> None:
  """Prepares the data of the runs, each folder once; before, refuses what is not installed."""
  runs, seen = list(runs), set()
  for run in runs:
    with _named(run.name):
      trackers.check(run.config)
  for run in runs:
    kind = kinds.of(run.config)
    what = names.digest(kind.data_key(run.config))
    if what not in seen:
      seen.add(what)
      with _named(run.name):
        kind.prepare(run.config, log)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
  """Puts a run's name in front of an error about it."""
  try:
    yield
  except config_lib.UserError as error:
    raise config_lib.UserError(f'run {name}: {error}') from None
