"""The table of arms by judges: on the page, on a terminal, and as judges.csv."""

from typing import Any

from mlm_jax.report import document
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import judged
from mlm_jax.report import sections
from mlm_jax.report import statistics
from mlm_jax.report import tables
from mlm_jax.report import tidy
from mlm_jax.report.comparisons import Comparison
from mlm_jax.report.judges import Judge
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag
from mlm_jax.report.sweep_results import Sweep

_NOTE = (
  'A row per arm, a column per judge: the mean over the finished runs, judged all alike. '
  'Small are the differences to the baseline, paired by seed, in the unit of the judge. Those with '
  'an interval are tested, all {} cells together with 95 % confidence (Student, Bonferroni), apart '
  'from the comparisons by the metric of the sweep; bold are only differences that are claimed.'
)


def section(sweep: Sweep, findings: findings_lib.Findings) -> Markup | str:
  """Returns the section of the page, '' of a sweep without judges."""
  if not sweep.judges:
    return ''
  means = {judge.name: judged.means(sweep, judge) for judge in sweep.judges}
  found = findings.judged.all
  rows = [
    [
      sections.arm_cell(sweep, arm),
      *(
        _cell(judge, means[judge.name][arm], found.get(Comparison(arm, sweep.baseline, judge.name)))
        for judge in sweep.judges
      ),
    ]
    for arm in sweep.arms
  ]
  # Contrasts with other arms than the baseline.
  pairs = dict.fromkeys((each.arm, each.other) for each in found if each.other != sweep.baseline)
  for arm, other in pairs:
    differences = [(each, found.get(Comparison(arm, other, each.name))) for each in sweep.judges]
    rows.append(
      [
        sections.arm_cell(sweep, arm, f' against {other}'),
        *(_cell(judge, statistics.Estimate(0), difference) for judge, difference in differences),
      ]
    )
  return join(
    [
      tag('h2', 'By each judge'),
      tag('p', _NOTE.format(len(findings.judged.family)), class_='note'),
      document.table(['arm', *map(_header, sweep.judges)], rows),
    ]
  )


def _header(judge: Judge) -> str:
  side = 'less' if judge.direction == 'min' else 'more'
  removed = ', no longer named' if judge.removed else ''
  return f'{judge.name}: {judge.score.replace("_", " ")}, {side} is better{removed}'


def _cell(
  judge: Judge, mean: statistics.Estimate, difference: statistics.Difference | None
) -> Markup:
  """Returns the cell of an arm by a judge; of the baseline there is no difference."""
  known = difference is not None and difference.estimate.n > 0
  reached = '' if mean.mean is None else f'{mean.mean:.3f} '
  if difference is None or not known:
    return document.cell(reached.strip() or '–', sections.or_empty(mean.mean))
  verdict = judged.verdict(judge, difference)
  small = tables.interval(difference.estimate, sign=True).replace('-', '−')
  sort = difference.estimate.mean if mean.mean is None else mean.mean
  return document.cell(
    join([reached, tag('small', small)]),
    sections.or_empty(sort),
    f'claimed {verdict}' if verdict in ('better', 'worse') else None,
  )


def lines(sweep: Sweep, findings: findings_lib.Findings) -> list[str]:
  """Returns lines for a terminal, one for each arm by each judge."""
  if not sweep.judges:
    return []
  found = findings.judged.all
  wide = max(len('judge'), *(len(judge.name) for judge in sweep.judges))
  narrow = max(map(len, ['arm', *sweep.arms]))
  shown = [f'{"judge":<{wide}}  {"arm":<{narrow}}  {"mean":>8}  difference to {sweep.baseline}']
  for judge in sweep.judges:
    for arm, mean in judged.means(sweep, judge).items():
      value = '-' if mean.mean is None else f'{mean.mean:.3f}'
      difference = found.get(Comparison(arm, sweep.baseline, judge.name))
      text = 'baseline' if arm == sweep.baseline else 'not comparable'
      text = text if difference is None else _in_line(judge, difference)
      shown.append(f'{judge.name:<{wide}}  {arm:<{narrow}}  {value:>8}  {text}')
  return shown + [
    f'{each.arm} against {each.other} by {judge.name}: {_in_line(judge, found[each])}'
    for judge in sweep.judges
    for each in found
    if each.under == judge.name and each.other != sweep.baseline
  ]


def _in_line(judge: Judge, difference: statistics.Difference) -> str:
  verdict = judged.verdict(judge, difference)
  return f'{tables.interval(difference.estimate, sign=True)} {judge.unit} {verdict}'


def csv(sweep: Sweep, findings: findings_lib.Findings) -> str:
  """Returns the text of judges.csv: a line for each arm by each judge, and each contrast.

  `tested` is family or no; `mean` is of the arm, `difference` of the pairs.
  """
  columns = ('judge', 'score', 'direction', 'arm', 'runs', 'mean', 'against', 'tested', 'pairs')
  more = ('difference', 'low', 'high', 'p', 'adjusted_p', 'verdict', 'reason')
  found, rows = findings.judged.all, []
  for judge in sweep.judges:
    means = judged.means(sweep, judge)
    of = lambda arm: [judge.name, judge.score, judge.direction, arm, means[arm].n, means[arm].mean]
    rows.append([*of(sweep.baseline), *[None] * (len(columns) + len(more) - 6)])
    for each, difference in found.items():
      if each.under != judge.name:
        continue
      mean, tested = difference.estimate, 'family' if each in findings.judged.family else 'no'
      numbers: list[Any] = [mean.n, mean.mean, mean.low, mean.high]
      numbers += [difference.p, difference.adjusted_p]
      said = [judged.verdict(judge, difference), difference.reason]
      rows.append([*of(each.arm), each.other, tested, *numbers, *said])
  return tidy.text([*columns, *more], rows)
