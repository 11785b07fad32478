"""A sweep as tables: results.csv, differences.csv, table.tex, and lines of text."""

from collections.abc import Sequence
from typing import Any

from mlm_jax.core import places
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import statistics
from mlm_jax.report import sweep_results
from mlm_jax.report import task_sweep
from mlm_jax.report import tidy

# Numbers of a run, beside its name, arm, seed, state and settings.
COLUMNS = (
  'step',
  'reference_loss',
  'reference_accuracy',
  'reference_perplexity',
  'bits_per_character',
  'policy_loss',
  'tokens',
  'predictions',
  'flops',
  'seconds',
  'tokens_per_second',
)
# {column: name in Run.fingerprints}.
_FINGERPRINTS = {'data_fingerprint': 'data', 'tokenizer': 'tokenizer', 'row_length': 'row length'}
_TASK_FINGERPRINTS = {'test_examples': 'test examples'}
# Characters that LaTeX reads as commands, or that its usual fonts show as others.
_TEX = {
  '\\': r'\textbackslash{}',
  '&': r'\&',
  '%': r'\%',
  '$': r'\$',
  '#': r'\#',
  '_': r'\_',
  '{': r'\{',
  '}': r'\}',
  '~': r'\textasciitilde{}',
  '^': r'\textasciicircum{}',
  '<': r'\textless{}',
  '>': r'\textgreater{}',
  '|': r'\textbar{}',
  '"': r'\textquotedbl{}',
}


def columns(sweep: sweep_results.Sweep) -> tuple[str, ...]:
  """Returns the names of the numbers of a run that results.csv has."""
  if not sweep.fine_tunes:
    return COLUMNS
  spent = [name for name in COLUMNS[COLUMNS.index('tokens') :] if name != 'predictions']
  return 'step', *task_sweep.scores(sweep), *spent


def _shown(sweep: sweep_results.Sweep) -> tuple[tuple[str, str], tuple[str, str]]:
  """Returns (value of a run, its header) of the two scores that are shown of every arm."""
  if not sweep.fine_tunes:
    return ('reference_loss', 'held-out loss'), ('reference_accuracy', 'accuracy')
  first, second, *_ = [*task_sweep.scores(sweep), sweep.metric]
  return (first, first.replace('_', ' ')), (second, second.replace('_', ' '))


def results(sweep: sweep_results.Sweep) -> str:
  """Returns the text of results.csv: a line per run in the order of the plan.

  A cell is empty where nothing is known.
  """
  # One column for each varied setting; those that are equal in all runs are in base.json.
  keys = list(sweep.varied)
  # Under the policies of the arms, where these hide different things.
  scores = [
    (policy, metric) for policy in sweep.policies for metric in dict.fromkeys((sweep.score, 'loss'))
  ]
  under = [f'{metric}_under_{policy}' for policy, metric in scores]
  numbers = columns(sweep)
  prints = _TASK_FINGERPRINTS if sweep.fine_tunes else _FINGERPRINTS
  by = [f'judged_by_{judge.name}' for judge in sweep.judges]
  header = ['run', 'arm', 'seed', *keys, 'state', *numbers, *under, *by, *prints]
  rows = [
    [
      run.name,
      run.arm,
      run.seed,
      *(setting(sweep.setting(run, key)) for key in keys),
      run.state,
      *(run.values.get(column) for column in numbers),
      *(run.scores.get(policy, {}).get(metric) for policy, metric in scores),
      *(run.judged.get(judge.name) for judge in sweep.judges),
      *(tidy.exact(run.fingerprints.get(name))[:16] for name in prints.values()),
    ]
    for run in sweep.runs
  ]
  return tidy.text(header, rows)


def differences(sweep: sweep_results.Sweep, findings: findings_lib.Findings) -> str:
  """Returns the text of differences.csv: a line for each comparison that is made.

  `tested` is family, alone (the negative control) or no (a contrast named after results). The
  interval from text_low to text_high is over seeds and text, see text_interval.
  """
  columns = (
    *('pairs', 'mean', 'low', 'high', 'text_low', 'text_high'),
    *('p', 'adjusted_p', 'verdict', 'reason'),
  )
  rows = []
  kinds = {'family': findings.family, 'alone': findings.control, 'no': findings.later}
  for tested, of_kind in kinds.items():
    for each, difference in of_kind.items():
      under = sweep.metric.partition('_')[0] if sweep.fine_tunes else 'reference'
      mean, over_text = difference.estimate, difference.text or statistics.Estimate(0)
      rows.append(
        [
          *(each.arm, each.other, each.under or under, sweep.score, tested, mean.n),
          *(mean.mean, mean.low, mean.high, over_text.low, over_text.high),
          *(difference.p, difference.adjusted_p, difference.verdict, difference.reason),
        ]
      )
  return tidy.text(['arm', 'against', 'scored_under', 'score', 'tested', *columns], rows)


def setting(value: Any) -> str:
  """Returns a setting as text, without the folders of this machine: reports are shared."""
  if isinstance(value, (list, tuple)):
    return '(' + ', '.join(map(setting, value)) + ')'
  if isinstance(value, str):
    return places.without_folders(value)
  return '' if value is None else str(value)


def interval(estimate: statistics.Estimate, digits: int = 3, sign: bool = False) -> str:
  """Returns 'mean [low, high]' of an Estimate, 'mean' without an interval, '-' without values."""
  form = f'{"+" if sign else ""}.{digits}f'
  if estimate.mean is None:
    return '-'
  if estimate.low is None:
    return f'{estimate.mean:{form}}'
  return f'{estimate.mean:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]'


def text_interval(difference: statistics.Difference) -> str:
  """Returns '[low, high]' of a difference over seeds and text, '' where it is not known."""
  found = difference.text
  if found is None or found.low is None or found.high is None:
    return ''
  return f'[{found.low:+.3f}, {found.high:+.3f}]'


def latex(sweep: sweep_results.Sweep, findings: findings_lib.Findings) -> str:
  """Returns the text of table.tex, a tabular for the package booktabs.

  Bold are the differences that the statistics claim, and no others (see `statistics`).
  """
  loss, accuracy = _estimates(sweep)
  first, second = (label for _, label in _shown(sweep))
  with_text = any(each.text for each in findings.differences.values())
  lines = [
    '% needs \\usepackage{booktabs}; the intervals of differences hold together with 95 % '
    'confidence',
    rf'\begin{{tabular}}{{lrrrr{"r" * with_text}}}',
    r'\toprule',
    rf'arm & seeds & {first} & {second} & {_difference_in(sweep)}'
    rf'{" & over seeds and text" * with_text} \\',
    r'\midrule',
  ]
  for arm in sweep.arms:
    difference = findings.differences.get(arm)
    scores = [
      _tex_interval(each[arm]) if arm not in findings.refused else '--' for each in (loss, accuracy)
    ]
    cell = '--' if difference is None else _tex_interval(difference.estimate, sign=True)
    if difference and difference.verdict in ('lower', 'higher'):
      cell = rf'{{\boldmath {cell}}}'
    text = text_interval(difference) if difference else ''
    more = [f'${text}$' if text else '--'] * with_text
    lines.append(' & '.join([escape_latex(arm), str(loss[arm].n), *scores, cell, *more]) + r' \\')
  return '\n'.join([*lines, r'\bottomrule', r'\end{tabular}', ''])


def _difference_in(sweep: sweep_results.Sweep) -> str:
  """Returns the header of the differences, which are of the loss unless it says otherwise."""
  if sweep.fine_tunes:
    return f'difference in {sweep.metric.replace("_", " ")}'
  return 'difference' + ('' if sweep.score == 'loss' else f' in {sweep.score.replace("_", " ")}')


def _estimates(sweep: sweep_results.Sweep) -> Sequence[dict[str, statistics.Estimate]]:
  return [findings_lib.estimates(sweep, metric) for metric, _ in _shown(sweep)]


def escape_latex(text: object) -> str:
  """Returns the LaTeX that shows a text."""
  return ''.join(_TEX.get(character, character) for character in str(text))


def _tex_interval(estimate: statistics.Estimate, sign: bool = False) -> str:
  text = interval(estimate, sign=sign)
  return '--' if text == '-' else f'${text}$'


def lines(sweep: sweep_results.Sweep, findings: findings_lib.Findings) -> list[str]:
  """Returns lines for a terminal: the answer, the warnings and a line per arm."""
  loss, accuracy = _estimates(sweep)
  first, second = (label for _, label in _shown(sweep))
  first = first.replace('held-out', 'reference')
  width = max(map(len, ['arm', *sweep.arms]))
  shown = [sweep.question, *findings.answer, *(f'WARNING: {each}' for each in findings.warnings)]
  shown += [findings.missing] if findings.missing else []
  shown.append(
    f'{"arm":<{width}}  seeds  {first:<24}  {second:>8}  '
    f'{_difference_in(sweep)} to {sweep.baseline}'
  )
  for arm in sweep.arms:
    difference = findings.differences.get(arm)
    text = (
      'baseline'
      if arm == sweep.baseline
      else 'not comparable'
      if difference is None
      else _in_line(difference)
    )
    # Losses of other tokens must not be shown side by side, not even without a claim.
    known = arm not in findings.refused
    hits = accuracy[arm].mean
    mean = f'{hits:.3f}' if known and hits is not None else '-'
    reached = interval(loss[arm]) if known else '-'
    shown.append(
      f'{arm:<{width}}  {loss[arm].n:>5}  {reached:<24}  {mean:>{max(8, len(second))}}  {text}'
    )
  # Of what is not among the differences to the baseline.
  return shown + [
    f'{each.words}: {_in_line(difference)} {difference.reason}'.strip()
    for each, difference in findings.compared.items()
    if sweep.contrasts.before or each in findings.later
  ]


def _in_line(difference: statistics.Difference) -> str:
  """Returns a difference with its intervals and what is claimed of it."""
  text = text_interval(difference)
  more = f', over seeds and text {text}' if text else ''
  return f'{interval(difference.estimate, sign=True)}{more} {difference.verdict}'
