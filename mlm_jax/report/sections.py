"""The tables of report.html."""

from collections.abc import Callable

from mlm_jax.core import places
from mlm_jax.report import answer
from mlm_jax.report import comparable
from mlm_jax.report import comparisons
from mlm_jax.report import document
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import statistics
from mlm_jax.report import tables
from mlm_jax.report import task_sweep
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
_BUDGETS = {
  'tokens': 'the same number of tokens',
  'predictions': 'the same number of predicted tokens',
  'flops': 'the same number of model FLOPs',
}
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


def arm_cell(sweep: Sweep, arm: str, more: str = '') -> Markup:
  """Returns the cell with an arm's name and colour, and more text in small type."""
  swatch = tag('span', class_='swatch', data_arm=sweep.arms.index(arm))
  # A long name may break after each of its settings.
  parts = [part for each in arm.split('_') for part in ('_', tag('wbr'), each)][2:]
  roles = {sweep.negative_control: ' negative control', sweep.baseline: ' baseline'}
  small = more or roles.get(arm, '')
  name = tag('span', *parts, tag('small', small) if small else '')
  return document.cell(tag('span', swatch, name, class_='name'), arm)


def number(text: str, value: float | None) -> Markup:
  return document.cell(text, '' if value is None else value)


def interval(estimate: statistics.Estimate, digits: int, sign: bool = False) -> str:
  """Returns an estimate with its interval after it in small type."""
  # Typographic signs on the page: a minus for a hyphen, a dash where there is no value.
  if estimate.low is None:
    return tables.interval(estimate, digits, sign).replace(
      '-', '–' if estimate.mean is None else '−'
    )
  mean, _, rest = tables.interval(estimate, digits, sign).replace('-', '−').partition(' ')
  return join([mean, ' ', tag('small', rest)])


def or_empty(value: float | None) -> float | str:
  return '' if value is None else value


def finals(sweep: Sweep, findings: findings_lib.Findings) -> Markup:
  """Returns the section of final scores."""
  scores = _FINALS
  if sweep.fine_tunes:
    scores = tuple((name, name.replace('_', ' '), 3) for name in task_sweep.scores(sweep))
  known = [
    each for each in scores if any(run.values.get(each[0]) is not None for run in sweep.runs)
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
      document.cell(interval(shown[metric], digits), or_empty(shown[metric].mean))
      for metric, _, digits in known
    ]
    rows.append([arm_cell(sweep, arm), document.cell(len(sweep.of(arm, 'done'))), *cells])
  return join(
    [
      tag('h2', 'Final scores'),
      tag('p', task_sweep.FINALS_NOTE if sweep.fine_tunes else _FINALS_NOTE, class_='note'),
      document.table(['arm', 'runs', *(label for _, label, _ in known)], rows),
    ]
  )


def _is_known(metric: str, why: str) -> bool:
  """Whether a value means something of an arm that is not compared."""
  # Also the bits of another objective's arm are of its generator.
  return metric == 'bits_per_character' and not why.startswith(comparable.OTHER_OBJECTIVE)


def costs(sweep: Sweep) -> Markup:
  """Returns the section of the costs of the arms."""
  shown = [each for each in _COSTS if each[0] != 'predictions' or not sweep.fine_tunes]
  rows = []
  for arm in sweep.arms:
    steps = sorted({run.total_steps for run in sweep.of(arm)})
    rows.append(
      [
        arm_cell(sweep, arm),
        document.cell(findings_lib.joined(f'{each:,}' for each in steps), steps[0]),
        *(_spent(sweep, arm, name) for name, _ in shown),
      ]
    )
  return join(
    [
      tag('h2', 'Cost'),
      tag('p', _COSTS_NOTE, class_='note'),
      document.table(['arm', 'steps', *(label for _, label in shown)], rows),
    ]
  )


def _spent(sweep: Sweep, arm: str, name: str) -> Markup:
  """Returns the cell of one cost of an arm: the mean of a count, the range of a time."""
  mean = findings_lib.mean_of(sweep, arm, name)
  if mean is None:
    return number('–', None)
  # A count differs between seeds by chance alone, a time by the load of the machine.
  values = [mean]
  if name in _TIMED:
    values = [run.values[name] for run in sweep.of(arm, 'done')]
  ends = dict.fromkeys(_cost(name, value) for value in (min(values), max(values)))
  return number(' to '.join(ends), mean)


def _cost(name: str, value: float) -> str:
  if name == 'seconds':
    return f'{value / 60:,.1f}'
  if name != 'flops':
    return f'{value:,.0f}'
  mantissa, exponent = f'{value:.2e}'.split('e')  # such as 1.23e+15
  return f'{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}'


def runs(sweep: Sweep, link: Callable[[Run], str | None]) -> Markup:
  """Returns the section of all runs; link(run) is the address of its folder, if any."""
  rows = []
  for run in sweep.runs:
    step, loss = int(run.values.get('step', 0)), run.values.get(sweep.metric)
    address = link(run) if run.folder.exists() else None
    name = tag('a', run.name, href=address) if address else run.name
    error = places.prose_without_folders(run.error)
    state = join([run.state, tag('small', f' {error}')]) if error else run.state
    rows.append(
      [
        document.cell(name, run.name),
        document.cell(run.seed),
        document.cell(state, run.state, 'wrap left'),
        document.cell(f'{step:,} / {run.total_steps:,}', step),
        number('–' if loss is None else f'{loss:.4f}', loss),
      ]
    )
  return join(
    [
      tag('h2', 'Runs'),
      document.table(
        [
          'run',
          'seed',
          'state',
          'step',
          f'newest {sweep.metric if sweep.fine_tunes else sweep.score}',
        ],
        rows,
      ),
    ]
  )


def _contrasts(sweep: Sweep) -> str:
  """Returns which comparisons are made, and when they were named."""
  named = sweep.contrasts
  before = '; '.join(each.words for each in named.before)
  text = f'named before any result: {before}' if before else 'every arm with the baseline'
  later = '; '.join(each.words for each in named.later)
  return text + (f'; {comparisons.CHANGED}: {later}' if later else '')


def protocol(sweep: Sweep, findings: findings_lib.Findings) -> Markup:
  """Returns the section that says how the comparison was made."""
  fingerprints = [run.fingerprints for run in sweep.of(sweep.baseline) if run.fingerprints][:1]
  if sweep.fine_tunes:
    budget = f'{task_sweep.BUDGETS.get(sweep.budget, sweep.budget)} for every arm, as planned'
  else:
    budget = (
      f'{_BUDGETS.get(sweep.budget, sweep.budget)} for every arm, checked to 1 % against the logs'
    )
  masks = {
    'Reference masks': _REFERENCE,
    'Scored under': ', '.join(answer.under(sweep, each) for each in findings.cross),
  }
  entries: dict[str, str | int] = {
    'Budget': budget,
    'Baseline': sweep.baseline,
    'Metric': f'{sweep.metric}, {"less" if sweep.direction == "min" else "more"} is better',
    'Seeds': ', '.join(map(str, sweep.seeds)),
    'Pairing': 'runs of one seed share initialisation and data order',
    **({} if sweep.fine_tunes else masks),
    'Negative control': sweep.negative_control or 'none',
    'Contrasts': _contrasts(sweep),
  }
  # Of one run of the baseline: all compared runs have the same. Hashes are shortened, counts not.
  for name, value in (fingerprints[0] if fingerprints else {}).items():
    name = 'data fingerprint' if name == 'data' else name
    entries[name.capitalize()] = value if type(value) is int else str(value)[:12]
  items = [part for name, value in entries.items() for part in (tag('dt', name), tag('dd', value))]
  settings = [
    [document.cell(tag('code', key), key), document.cell(tables.setting(value), class_='wrap left')]
    for key, value in sweep.base.items()
  ]
  return join(
    [
      tag('h2', 'Protocol'),
      tag('dl', *items),
      tag(
        'details',
        tag('summary', 'Settings that all runs start from'),
        document.table(['setting', 'value'], settings),
      )
      if settings
      else '',
    ]
  )
