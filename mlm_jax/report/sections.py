"""The tables of report.html."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from mlm_jax.report import answer
from mlm_jax.report import figures
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import statistics
from mlm_jax.report import tables
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag
from mlm_jax.report.sweep_results import Run
from mlm_jax.report.sweep_results import Sweep

# (value of a run, its header, digits).
_FINALS = (
  ('reference_loss', 'loss', 3),
  ('reference_accuracy', 'accuracy', 3),
  ('reference_perplexity', 'perplexity', 1),
  ('bits_per_character', 'bits per character', 3),
  ('policy_loss', 'policy loss', 3),
)
# (value of a run, its header).
_COSTS = (
  ('tokens', 'tokens'),
  ('predictions', 'predictions'),
  ('flops', 'FLOPs'),
  ('seconds', 'minutes'),
  ('tokens_per_second', 'tokens/s'),
)
_TIMED = ('seconds', 'tokens_per_second')
_WORDS = ('interval', 'verdict', 'state', 'value')  # columns that do not hold numbers
_BUDGETS = {
  'tokens': 'the same number of tokens',
  'predictions': 'the same number of predicted tokens',
  'flops': 'the same number of model FLOPs',
}
_DIFFERENCES_NOTE = (
  'Final {} minus that of the baseline, paired by seed: {} of the dashed line is better. Pale dots '
  'are pairs. {} Bold are only differences with an interval that excludes 0 and p below .05, from '
  'three seeds or more.'
)
_FINALS_NOTE = (
  'Means over the runs that are done, with the 95 % interval of each mean (Student, not '
  'simultaneous). Loss, accuracy and perplexity are under the reference masks; the policy loss is '
  'under the masks of each arm’s own policy and is not comparable between policies. Bits per '
  'character are of the masked text, not of all text; of arms that are not compared only these '
  'are shown.'
)
_COSTS_NOTE = (
  'Means over the runs that are done. Tokens without padding; FLOPs of the model’s matrix '
  'products. Minutes are of training, without compilation, evaluation and saving, from the fastest '
  'seed to the slowest, and tokens/s from the slowest to the fastest: wall time depends on the '
  'machine and on its other load.'
)
_REFERENCE = (
  'uniform 15 % of the held-out tokens, all [MASK], drawn with a constant key: the same in every '
  'run on the same data'
)
_SUPERSCRIPTS = str.maketrans('0123456789-', '⁰¹²³⁴⁵⁶⁷⁸⁹⁻')


def table(
  headers: Sequence[str], rows: Sequence[Sequence[Markup]], foot: Markup | None = None
) -> Markup:
  """Returns a table that sorts by a click on a header; each row is a list of `cell`."""
  head = tag(
    'thead',
    tag(
      'tr',
      *(
        tag(
          'th',
          tag('button', each, type='button'),
          scope='col',
          class_='left' if each in _WORDS else None,
        )
        for each in headers
      ),
    ),
  )
  end = tag('tfoot', foot) if foot else ''
  body = tag('tbody', *(tag('tr', *row) for row in rows))
  return tag('div', tag('table', head, body, end), class_='scroll')


def cell(content: object, sort: Any = None, class_: str | None = None) -> Markup:
  """Returns a cell; `sort` is the value that its row is sorted by, the content if not given."""
  return tag('td', content, data_sort=content if sort is None else sort, class_=class_)


def arm_cell(sweep: Sweep, arm: str) -> Markup:
  """Returns the cell with an arm's name and colour."""
  swatch = tag('span', class_='swatch', data_arm=sweep.arms.index(arm))
  # A long name may break after each of its settings.
  parts = [part for each in arm.split('_') for part in ('_', tag('wbr'), each)][2:]
  name = tag('span', *parts, tag('small', ' baseline') if arm == sweep.baseline else '')
  return cell(tag('span', swatch, name, class_='name'), arm)


def _number(text: str, value: float | None) -> Markup:
  return cell(text, '' if value is None else value)


def differences(sweep: Sweep, findings: findings_lib.Findings) -> Markup | str:
  """Returns the section of paired differences to the baseline."""
  if not findings.differences:
    return ''
  # One scale for all rows, so that they can be compared by eye.
  scale = figures.Intervals(list(findings.differences.values()))
  rows = [_difference(sweep, arm, each, scale) for arm, each in findings.differences.items()]
  count = sum(map(len, findings.cross.values()))  # also those under the policies of the arms
  side = 'left' if sweep.direction == 'min' else 'right'
  note = _DIFFERENCES_NOTE.format(sweep.metric.replace('_', ' '), side, _joint(count))
  foot = tag('tr', tag('td'), tag('td', scale.axis(), class_='left'), *[tag('td')] * 4)
  return join(
    [
      tag('h2', f'Differences to {sweep.baseline}'),
      tag('p', note, class_='note'),
      table(['arm', 'interval', 'difference', 'pairs', 'adjusted p', 'verdict'], rows, foot),
    ]
  )


def _joint(count: int) -> str:
  """Returns a sentence on how the intervals and p of this number of arms are adjusted."""
  if count == 1:
    return 'The interval is of 95 % (Student).'
  return (
    f'The {count} intervals hold together with 95 % confidence (Student, Bonferroni), and p is '
    f'adjusted for {count} comparisons (Holm).'
  )


def _difference(
  sweep: Sweep, arm: str, difference: statistics.Difference, scale: figures.Intervals
) -> list[Markup]:
  """Returns the cells of one arm's difference to the baseline."""
  mean = difference.estimate
  # Bold and colour only for what the statistics claim; a plain number claims nothing.
  verdict = answer.verdict(sweep, difference)
  claimed = verdict in ('better', 'worse')
  class_ = f'claimed {verdict}' if claimed else None
  p = difference.adjusted_p
  return [
    arm_cell(sweep, arm),
    tag(
      'td',
      scale.one(difference) if mean.n else '',
      data_sort=_or_empty(mean.mean),
      class_=f'left {verdict if claimed else "quiet"}',
    ),
    cell(interval(mean, 3, sign=True), _or_empty(mean.mean), class_),
    cell(mean.n),
    _number('–' if p is None else f'{p:.3f}' if p >= 0.001 else '< .001', p),
    cell(difference.reason or verdict, class_=f'wrap left {class_ or "quiet"}'),
  ]


def interval(estimate: statistics.Estimate, digits: int, sign: bool = False) -> str:
  """Returns an estimate with its interval after it in small type."""
  # Typographic signs on the page: a minus for a hyphen, a dash where there is no value.
  if estimate.low is None:
    return tables.interval(estimate, digits, sign).replace(
      '-', '–' if estimate.mean is None else '−'
    )
  mean, _, rest = tables.interval(estimate, digits, sign).replace('-', '−').partition(' ')
  return join([mean, ' ', tag('small', rest)])


def _or_empty(value: float | None) -> float | str:
  return '' if value is None else value


def finals(sweep: Sweep, findings: findings_lib.Findings) -> Markup:
  """Returns the section of final scores."""
  known = [
    each for each in _FINALS if any(run.values.get(each[0]) is not None for run in sweep.runs)
  ]
  found = {metric: findings_lib.estimates(sweep, metric) for metric, *_ in known}
  rows = []
  for arm in sweep.arms:
    # Only bits per character mean something beside an arm with another tokenizer.
    shown = {
      metric: found[metric][arm]
      if arm not in findings.refused or _is_known(metric, findings.refused[arm])
      else statistics.Estimate(0)
      for metric in found
    }
    cells = [
      cell(interval(shown[metric], digits), _or_empty(shown[metric].mean))
      for metric, _, digits in known
    ]
    rows.append([arm_cell(sweep, arm), cell(len(sweep.of(arm, 'done'))), *cells])
  return join(
    [
      tag('h2', 'Final scores'),
      tag('p', _FINALS_NOTE, class_='note'),
      table(['arm', 'runs', *(label for _, label, _ in known)], rows),
    ]
  )


def _is_known(metric: str, why: str) -> bool:
  """Whether a value means something of an arm that is not compared."""
  # Also the bits of another objective's arm are of its generator.
  return metric == 'bits_per_character' and not why.startswith(findings_lib.OTHER_OBJECTIVE)


def costs(sweep: Sweep) -> Markup:
  """Returns the section of the costs of the arms."""
  rows = []
  for arm in sweep.arms:
    steps = sorted({run.total_steps for run in sweep.of(arm)})
    rows.append(
      [
        arm_cell(sweep, arm),
        cell(findings_lib.joined(f'{each:,}' for each in steps), steps[0]),
        *(_spent(sweep, arm, name) for name, _ in _COSTS),
      ]
    )
  return join(
    [
      tag('h2', 'Cost'),
      tag('p', _COSTS_NOTE, class_='note'),
      table(['arm', 'steps', *(label for _, label in _COSTS)], rows),
    ]
  )


def _spent(sweep: Sweep, arm: str, name: str) -> Markup:
  """Returns the cell of one cost of an arm: the mean of a count, the range of a time."""
  mean = findings_lib.mean_of(sweep, arm, name)
  if mean is None:
    return _number('–', None)
  # A count differs between seeds by chance alone, a time by the load of the machine.
  values = [mean]
  if name in _TIMED:
    values = [run.values[name] for run in sweep.of(arm, 'done')]
  ends = dict.fromkeys(_cost(name, value) for value in (min(values), max(values)))
  return _number(' to '.join(ends), mean)


def _cost(name: str, value: float) -> str:
  if name == 'seconds':
    return f'{value / 60:,.1f}'
  if name != 'flops':
    return f'{value:,.0f}'
  mantissa, exponent = f'{value:.2e}'.split('e')  # such as 1.23e+15
  return f'{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}'


def runs(sweep: Sweep, link: Callable[[Run], str]) -> Markup:
  """Returns the section of all runs; link(run) is the address of its folder."""
  rows = []
  for run in sweep.runs:
    step, loss = int(run.values.get('step', 0)), run.values.get(sweep.metric)
    name = tag('a', run.name, href=link(run)) if run.folder.exists() else run.name
    state = join([run.state, tag('small', f' {run.error}')]) if run.error else run.state
    rows.append(
      [
        cell(name, run.name),
        cell(run.seed),
        cell(state, run.state, 'wrap left'),
        cell(f'{step:,} / {run.total_steps:,}', step),
        _number('–' if loss is None else f'{loss:.4f}', loss),
      ]
    )
  return join(
    [tag('h2', 'Runs'), table(['run', 'seed', 'state', 'step', f'newest {sweep.score}'], rows)]
  )


def protocol(sweep: Sweep, findings: findings_lib.Findings) -> Markup:
  """Returns the section that says how the comparison was made."""
  fingerprints = [run.fingerprints for run in sweep.of(sweep.baseline) if run.fingerprints][:1]
  budget = (
    f'{_BUDGETS.get(sweep.budget, sweep.budget)} for every arm, checked to 1 % against the logs'
  )
  entries: dict[str, str | int] = {
    'Budget': budget,
    'Baseline': sweep.baseline,
    'Metric': f'{sweep.metric}, {"less" if sweep.direction == "min" else "more"} is better',
    'Seeds': ', '.join(map(str, sweep.seeds)),
    'Pairing': 'runs of one seed share initialisation and data order',
    'Reference masks': _REFERENCE,
    'Scored under': ', '.join(answer.under(sweep, each) for each in findings.cross),
    'Negative control': sweep.negative_control or 'none',
  }
  # Of one run of the baseline: all compared runs have the same. Hashes are shortened, counts not.
  for name, value in (fingerprints[0] if fingerprints else {}).items():
    name = 'data fingerprint' if name == 'data' else name
    entries[name.capitalize()] = value if type(value) is int else str(value)[:12]
  items = [part for name, value in entries.items() for part in (tag('dt', name), tag('dd', value))]
  settings = [
    [cell(tag('code', key), key), cell(tables.setting(value), class_='wrap left')]
    for key, value in sweep.base.items()
  ]
  return join(
    [
      tag('h2', 'Protocol'),
      tag('dl', *items),
      tag(
        'details',
        tag('summary', 'Settings that all runs start from'),
        table(['setting', 'value'], settings),
      )
      if settings
      else '',
    ]
  )
