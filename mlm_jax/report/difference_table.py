"""The table of the differences that are tested, each with its interval as a small figure."""

from mlm_jax.report import answer
from mlm_jax.report import document
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import intervals
from mlm_jax.report import sections
from mlm_jax.report import statistics
from mlm_jax.report import tables
from mlm_jax.report.comparisons import Comparison
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag
from mlm_jax.report.sweep_results import Sweep

_NOTE = (
  'Final {} minus that of {}, paired by seed: {} of the dashed line is better. Pale dots '
  'are pairs. {} Bold are only differences with an interval that excludes 0 and p below .05, from '
  'three seeds or more.'
)
_TEXT = 'over seeds and text'
_TEXT_NOTE = (
  ' They are of this held-out text. The intervals over seeds and text, of the same confidence, '
  'also say what another sample of the text would change (a bootstrap over its segments).'
)


def section(sweep: Sweep, findings: findings_lib.Findings) -> Markup | str:
  """Returns the section of paired differences: to the baseline, or of the contrasts named."""
  named = sweep.contrasts.before
  # Those under the policies of the arms are in a table of their own.
  shown = {
    each: difference
    for each, difference in findings.compared.items()
    if named or not each.under or each in findings.later
  }
  if not shown:
    return ''
  # One scale for all rows, so that they can be compared by eye.
  scale = intervals.Intervals(list(shown.values()))
  # A run of an earlier version has no scores by segment.
  with_text = any(difference.text for difference in shown.values())
  rows = [
    _difference(sweep, each, difference, scale, with_text) for each, difference in shown.items()
  ]
  headers = [
    'arm',
    'interval',
    'difference',
    *[_TEXT] * with_text,
    'pairs',
    'adjusted p',
    'verdict',
  ]
  side = 'left' if sweep.direction == 'min' else 'right'
  other = 'the other arm' if named else 'the baseline'
  note = _NOTE.format(sweep.metric.replace('_', ' '), other, side, _joint(findings))
  note += _TEXT_NOTE if with_text else ''
  foot = tag(
    'tr', tag('td'), tag('td', scale.axis(), class_='left'), *[tag('td')] * (len(headers) - 2)
  )
  return join(
    [
      tag('h2', 'Contrasts' if named else f'Differences to {sweep.baseline}'),
      tag('p', note, class_='note'),
      document.table(headers, rows, foot),
    ]
  )


def _joint(findings: findings_lib.Findings) -> str:
  """Returns a sentence on how intervals and p are adjusted."""
  count = len(findings.family)
  alone = ' The negative control is tested on its own.' if findings.control else ''
  if count <= 1:
    return f'Each interval is of 95 % (Student).{alone}'
  return (
    f'The {count} intervals hold together with 95 % confidence (Student, Bonferroni), and p is '
    f'adjusted for {count} comparisons (Holm).{alone}'
  )


def _difference(
  sweep: Sweep,
  each: Comparison,
  difference: statistics.Difference,
  scale: intervals.Intervals,
  with_text: bool,
) -> list[Markup]:
  """Returns the cells of one comparison, among them the interval over seeds and text or not."""
  mean = difference.estimate
  text = tables.text_interval(difference).replace('-', '−') or '–'
  # Bold and colour only for what the statistics claim; a plain number claims nothing.
  verdict = answer.verdict(sweep, difference)
  claimed = verdict in ('better', 'worse')
  class_ = f'claimed {verdict}' if claimed else None
  p = difference.adjusted_p
  is_plain = each.other == sweep.baseline and not each.under
  more = '' if is_plain else each.words.removeprefix(each.arm)
  return [
    sections.arm_cell(sweep, each.arm, more),
    tag(
      'td',
      scale.one(difference) if mean.n else '',
      data_sort=sections.or_empty(mean.mean),
      class_=f'left {verdict if claimed else "quiet"}',
    ),
    document.cell(sections.interval(mean, 3, sign=True), sections.or_empty(mean.mean), class_),
    *[document.cell(tag('small', text), sections.or_empty(mean.mean))] * with_text,
    document.cell(mean.n),
    sections.number('–' if p is None else f'{p:.3f}' if p >= 0.001 else '< .001', p),
    document.cell(difference.reason or verdict, class_=f'wrap left {class_ or "quiet"}'),
  ]
