"""The plan as text: each arm's settings, its cost and its progress."""

import collections
from collections.abc import Mapping
from collections.abc import Sequence
import os

from mlm_jax.evaluation import cross_scores
from mlm_jax.report import comparisons
from mlm_jax.report import judged
from mlm_jax.report.comparisons import CHANGED
from mlm_jax.report.comparisons import Comparison
from mlm_jax.sweeps import budgets
from mlm_jax.sweeps import judging
from mlm_jax.sweeps import kinds
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import planning
from mlm_jax.sweeps import policies as policies_lib
from mlm_jax.sweeps import power
from mlm_jax.sweeps import scoring
from mlm_jax.training import logs


def lines(
  plan: planning.Plan,
  workdir: str | os.PathLike[str],
  sd: float | None = None,
  source: str = '',
  difference: float | None = None,
) -> list[str]:
  """Returns the plan of a sweep as lines of text.

  Args:
    plan: planning.Plan.
    workdir: of the sweep.
    sd: the standard deviation of paired differences in the metric; None where it is not known.
    source: where it is from.
    difference: of which the seeds are asked that find it; None for none.
  """
  kind = kinds.of(plan.sweep.base)
  # The runs of an arm differ in their seeds, which cost nothing.
  costs = {arm: kind.cost(runs[0].config) for arm, runs in plan.arms.items()}
  width = max(map(len, ['arm', *costs]))
  shown = [name for name in next(iter(costs.values())) if name != 'steps']
  text = [
    plan.sweep.question,
    '',
    *_heading(plan),
    *_contrasts(plan, workdir),
    '',
    f'{"arm":<{width}} {"steps":>9} {_costs({name: name for name in shown})}  runs',
  ]
  for arm, runs in plan.arms.items():
    cells = {
      name: f'{costs[arm][name]:.2g}' if name == 'flops' else _short(costs[arm][name])
      for name in shown
    }
    text.append(
      f'{arm:<{width}} {runs[0].config.total_steps:>9,} {_costs(cells)}  {_states(runs, workdir)}'
    )
  text += ['', *(f'{arm}: {_settings(runs[0])}' for arm, runs in plan.arms.items())]
  text.append('')
  if len(plan.arms) > 1:  # otherwise there is nothing to find
    text += power.lines(*_tests(plan, workdir), sd, source, difference)
  text += _scoring(plan, workdir, costs) + _judging(plan, workdir, costs)
  text.append('Costs are estimates for one run; padding counts as tokens.')
  text.append(_time(plan, workdir, costs))
  left = layout.others(plan, workdir)
  return text + ([f'not part of this sweep, and not touched: {", ".join(left)}'] if left else [])


def _heading(plan: planning.Plan) -> list[str]:
  sweep = plan.sweep
  assert sweep.baseline is not None  # a plan has it filled in
  seeds = [run.seed for run in plan.arms[sweep.baseline]]
  text = [
    f'{len(plan.arms)} arms x {len(seeds)} seeds ({", ".join(map(str, seeds))}) = {len(plan.runs)} '
    f'runs; all spend the {sweep.budget} of the baseline {sweep.baseline}'
  ]
  if sweep.negative_control:
    text.append(f'{sweep.negative_control} is the negative control: it has to be worse')
  if len(seeds) < 3:
    text.append('fewer than 3 seeds: no difference can be claimed')
  return text


def _contrasts(plan: planning.Plan, workdir: str | os.PathLike[str]) -> list[str]:
  """Returns the lines on the contrasts, [] where none are named or were."""
  before = [Comparison(*each) for each in layout.contrasts_before_results(plan, workdir)]
  now = [Comparison(*each) for each in plan.sweep.contrasts]
  text = [f'tested: {"; ".join(each.words for each in before)}'] if before else []
  if set(now) != set(before):
    later = '; '.join(each.words for each in now if each not in before) or 'some were removed'
    text.append(
      f'the contrasts were {CHANGED}: {later}; what was to be tested before is tested, and of '
      'others nothing is claimed'
    )
  return text


def _tests(plan: planning.Plan, workdir: str | os.PathLike[str]) -> tuple[int, int]:
  """Returns (seeds, comparisons that are tested together)."""
  sweep = plan.sweep
  assert sweep.baseline is not None  # a plan has it filled in
  family = comparisons.family(
    plan.arms,
    sweep.baseline,
    sweep.negative_control,
    cross_scores.beside_reference(policies_lib.differing(plan.runs)),
    [Comparison(*each) for each in layout.contrasts_before_results(plan, workdir)],
  )
  return len(plan.arms[sweep.baseline]), max(len(family), 1)


def _scoring(
  plan: planning.Plan,
  workdir: str | os.PathLike[str],
  costs: Mapping[str, Mapping[str, float]],
) -> list[str]:
  """Returns the sentence on the policies that runs are scored under, [] where there are none."""
  policies = policies_lib.differing(plan.runs)
  if not policies:
    return []
  run = plan.runs[0]
  # The rows and the encoder of the first run stand for all.
  known = [
    budgets.scoring(run.config, settings)
    for settings in cross_scores.beside_reference(policies).values()
  ]
  flops = sum(value for value in known if value is not None)
  cost = f', {flops:.2g} FLOPs ({flops / costs[run.arm]["flops"]:.2%} of its training)'
  scored = sum(not each.left for each in scoring.finished(plan, workdir))
  return [
    'The arms hide different things (config.masking), so each run is scored under the policies of '
    f'all when it is done: {", ".join(policies)}{cost if flops else ""}; '
    f'{scored} of {len(plan.runs)} are'
  ]


def _judging(
  plan: planning.Plan,
  workdir: str | os.PathLike[str],
  costs: Mapping[str, Mapping[str, float]],
) -> list[str]:
  """Returns the lines on the judges, [] where there are none."""
  if not plan.judges:
    return []
  run = plan.runs[0]  # stands for all
  cost, text = costs[run.arm], []
  for name, judge in plan.judges.items():
    # A pass forward is one of the three of a training step.
    flops = judge.tokens(run) * judge.passes / 3 * cost['flops'] / cost['tokens']
    more = f', about {flops:.2g} FLOPs a run ({flops / cost["flops"]:.2%} of its training)'
    text.append(f'judge {name}: {judge.what}{more if flops else ""}')
  made = sum(each.is_made for each in judging.of(plan, workdir))
  total = len(plan.judges) * len(plan.runs)
  cells = judged.cells(
    plan.arms,
    plan.sweep.baseline,
    plan.sweep.negative_control,
    [Comparison(*each) for each in layout.contrasts_before_results(plan, workdir)],
    plan.judges,
  )
  return text + [
    f'Each run is judged when none trains any more: {made} of {total} judgements are made; '
    f'{len(cells)} differences, those of each arm by each judge, are tested together'
  ]


def _settings(run: planning.Run) -> str:
  changed = {key: value for key, value in run.settings.items() if key != 'seed'}
  return (
    ', '.join(f'config.{key} = {value!r}' for key, value in changed.items()) or 'the base config'
  )


def _states(runs: Sequence[planning.Run], workdir: str | os.PathLike[str]) -> str:
  """Returns how many runs of an arm are done, diverged, part way and waiting."""
  states: collections.Counter[str] = collections.Counter()
  for run in runs:
    if layout.is_done(workdir, run):
      state = layout.DONE
    elif layout.why_diverged(workdir, run):
      state = layout.DIVERGED
    else:
      step = layout.saved_step(workdir, run)
      state = f'at step {step}' if step else layout.WAITING
    states[state] += 1
  return ', '.join(f'{number} {state}' for state, number in states.items())


def _time(
  plan: planning.Plan,
  workdir: str | os.PathLike[str],
  costs: Mapping[str, Mapping[str, float]],
) -> str:
  """Returns an estimate of the time left: the speed of finished runs x the FLOPs left."""
  flops = seconds = left = 0.0
  done = 0
  for run in plan.runs:
    cost = costs[run.arm]['flops']
    if layout.is_done(workdir, run):
      done += 1
      flops += cost
      # The replicas of a population share its time.
      timing = logs.read_log(layout.run_folder(workdir, run), 'timing')
      seconds += sum(line['seconds'] / line.get('replicas', 1) for line in timing)
    else:
      # A run that is part way costs what its steps after the newest checkpoint cost.
      left += cost * (1 - layout.saved_step(workdir, run) / run.config.total_steps)
  if done == len(plan.runs):
    return 'time left: none, all runs are done'
  if not done:
    return 'time left: unknown until a run is done'
  # As if all runs had the same FLOPs per second: an estimate, until arms of each kind are done.
  minutes = seconds / flops * left / 60
  return (
    f'time left: about {minutes:,.1f} minutes of training, one run at a time, without compilation '
    f'and evaluation; estimated from {done} finished run{"s" if done > 1 else ""}'
  )


def _costs(cells: Mapping[str, str]) -> str:
  """Returns the cells of a line about costs, aligned."""
  return ' '.join(
    f'{cell.replace("flops", "FLOPs"):>{max(len(name), 8)}}' for name, cell in cells.items()
  )


def _short(number: float) -> str:
  """Returns a count in a few characters, such as 8.2M."""
  for unit in ('', 'k', 'M', 'G'):
    if number < 1000:
      return f'{number:.3g}{unit}'
    number /= 1000
  return f'{number:.3g}T'
