"""The table of arms, as trained, by the policies that they are scored under."""

from collections.abc import Mapping

from mlm_jax.report import answer
from mlm_jax.report import document
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import sections
from mlm_jax.report import statistics
from mlm_jax.report import tables
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag
from mlm_jax.report.sweep_results import Sweep

_NOTE = (
  'The final {} of every finished run under the policy of every arm, each as at the end of the '
  'training: a row per arm as it was trained, a column per policy that it is scored under. On the '
  'same data the masks of a column are the same for every run. Small are the differences to the '
  'baseline in that column, paired by seed. Those with an interval are tested, all together with '
  '95 % confidence; bold are only differences that are claimed. The darker a cell, the farther its '
  'arm is behind the best one under these masks, on one scale for all.'
)
_DARKEST = 32  # per cent of the colour: what is written must stay legible


def estimates(sweep: Sweep, policy: str) -> dict[str, statistics.Estimate]:
  """Returns {arm: statistics.Estimate} of the score under a policy, of the runs that are done."""
  return {
    arm: statistics.estimate(
      [findings_lib.final(sweep, run, policy) for run in sweep.of(arm, 'done')]
    )
    for arm in sweep.arms
  }


def section(sweep: Sweep, findings: findings_lib.Findings) -> Markup | str:
  """Returns the section of the page, '' where all arms hide the same."""
  if not sweep.policies or not findings.differences:
    return ''
  means = {policy: estimates(sweep, policy) for policy in findings.cross}
  arms = [arm for arm in sweep.arms if arm not in findings.refused]
  shades = _shades(sweep, {policy: {arm: of[arm] for arm in arms} for policy, of in means.items()})
  rows = [
    [
      sections.arm_cell(sweep, arm),
      *(
        _cell(sweep, means[policy][arm], of.get(arm), shades.get((policy, arm)))
        for policy, of in findings.cross.items()
      ),
    ]
    for arm in arms
  ]
  return join(
    [
      tag('h2', 'Trained with, scored under'),
      tag('p', _NOTE.format(sweep.score.replace('_', ' ')), class_='note'),
      document.table(
        ['trained with', *(answer.under(sweep, policy) for policy in findings.cross)], rows
      ),
    ]
  )


def _shades(
  sweep: Sweep, means: Mapping[str, Mapping[str, statistics.Estimate]]
) -> dict[tuple[str, str], float]:
  """Returns {(policy, arm): how dark, from 0 to 1} from {policy: {arm: mean}}."""
  sign = 1 if sweep.direction == 'min' else -1
  behind = {}
  for policy, of in means.items():
    known = {arm: sign * each.mean for arm, each in of.items() if each.mean is not None}
    behind |= {(policy, arm): value - min(known.values()) for arm, value in known.items()}
  most = max(behind.values(), default=0.0)
  return {cell: value / most if most else 0.0 for cell, value in behind.items()}


def _cell(
  sweep: Sweep,
  mean: statistics.Estimate,
  difference: statistics.Difference | None,
  shade: float | None,
) -> Markup:
  """Returns the cell of an arm under a policy; of the baseline there is no difference."""
  if mean.mean is None:
    return document.cell('–', '')
  share = f'{_DARKEST * (shade or 0):.0f}%'
  style = f'background: color-mix(in srgb, var(--accent) {share}, transparent)'
  if difference is None or not difference.estimate.n:
    return document.cell(f'{mean.mean:.3f}', mean.mean, style=style)
  verdict = answer.verdict(sweep, difference)
  small = tables.interval(difference.estimate, sign=True).replace('-', '−')
  return document.cell(
    join([f'{mean.mean:.3f} ', tag('small', small)]),
    mean.mean,
    f'claimed {verdict}' if verdict in ('better', 'worse') else None,
    style,
  )


def lines(sweep: Sweep, findings: findings_lib.Findings) -> list[str]:
  """Returns lines for a terminal, one for each arm under each policy."""
  if not sweep.policies or not findings.differences:
    return []
  arms = [arm for arm in sweep.arms if arm not in findings.refused]
  names = {policy: answer.under(sweep, policy).removeprefix('the ') for policy in findings.cross}
  wide, narrow = max(map(len, names.values())), max(map(len, ['trained with', *arms]))
  shown = [
    f'{"scored under":<{wide}}  {"trained with":<{narrow}}  {sweep.score:>8}  '
    f'difference to {sweep.baseline}'
  ]
  for policy, differences in findings.cross.items():
    for arm, mean in estimates(sweep, policy).items():
      if arm in findings.refused:
        continue
      difference = differences.get(arm)
      text = (
        'baseline'
        if difference is None
        else f'{tables.interval(difference.estimate, sign=True)} {difference.verdict}'
      )
      value = '-' if mean.mean is None else f'{mean.mean:.3f}'
      shown.append(f'{names[policy]:<{wide}}  {arm:<{narrow}}  {value:>8}  {text}')
  return shown
