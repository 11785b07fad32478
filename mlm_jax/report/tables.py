"""A sweep as tables: results.csv, table.tex, and lines of text."""

from collections.abc import Sequence
import csv
import io
from typing import Any

from mlm_jax.report import findings as findings_lib
from mlm_jax.report import statistics
from mlm_jax.report import sweep_results

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


def results(sweep: sweep_results.Sweep) -> str:
  """Returns the text of results.csv: a line per run in the order of the plan.

  A cell is empty where nothing is known.
  """
  # One column for each varied setting; those that are equal in all runs are in base.json.
  keys = list(sweep.varied)
  written = io.StringIO()
  writer = csv.writer(written, lineterminator='\n')
  # Under the policies of the arms, where these hide different things.
  scores = [
    (policy, metric) for policy in sweep.policies for metric in dict.fromkeys((sweep.score, 'loss'))
  ]
  under = [f'{metric}_under_{policy}' for policy, metric in scores]
  writer.writerow(['run', 'arm', 'seed', *keys, 'state', *COLUMNS, *under, *_FINGERPRINTS])
  for run in sweep.runs:
    settings = [setting(sweep.setting(run, key)) for key in keys]
    writer.writerow(
      [
        run.name,
        run.arm,
        run.seed,
        *settings,
        run.state,
        *(_exact(run.values.get(column)) for column in COLUMNS),
        *(_exact(run.scores.get(policy, {}).get(metric)) for policy, metric in scores),
        *(_exact(run.fingerprints.get(name))[:16] for name in _FINGERPRINTS.values()),
      ]
    )
  return written.getvalue()


def setting(value: Any) -> str:
  """Returns a setting as text."""
  if isinstance(value, (list, tuple)):
    return '(' + ', '.join(map(setting, value)) + ')'
  return '' if value is None else str(value)


def _exact(value: Any) -> str:
  # Nine digits: two more than the logs have, so that means of them can be checked.
  return '' if value is None else f'{value:.9g}' if isinstance(value, float) else str(value)


def interval(estimate: statistics.Estimate, digits: int = 3, sign: bool = False) -> str:
  """Returns 'mean [low, high]' of an Estimate, 'mean' without an interval, '-' without values."""
  form = f'{"+" if sign else ""}.{digits}f'
  if estimate.mean is None:
    return '-'
  if estimate.low is None:
    return f'{estimate.mean:{form}}'
  return f'{estimate.mean:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]'


def latex(sweep: sweep_results.Sweep, findings: findings_lib.Findings) -> str:
  """Returns the text of table.tex, a tabular for the package booktabs.

  Bold are the differences that the statistics claim, and no others (see `statistics`).
  """
  loss, accuracy = _loss_and_accuracy(sweep)
  lines = [
    '% needs \\usepackage{booktabs}; the intervals of differences hold together with 95 % '
    'confidence',
    r'\begin{tabular}{lrrrr}',
    r'\toprule',
    rf'arm & seeds & held-out loss & accuracy & {_difference_in(sweep)} \\',
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
    lines.append(' & '.join([escape_latex(arm), str(loss[arm].n), *scores, cell]) + r' \\')
  return '\n'.join([*lines, r'\bottomrule', r'\end{tabular}', ''])


def _difference_in(sweep: sweep_results.Sweep) -> str:
  """Returns the header of the differences, which are of the loss unless it says otherwise."""
  return 'difference' + ('' if sweep.score == 'loss' else f' in {sweep.score.replace("_", " ")}')


def _loss_and_accuracy(
  sweep: sweep_results.Sweep,
) -> Sequence[dict[str, statistics.Estimate]]:
  return [
    findings_lib.estimates(sweep, metric) for metric in ('reference_loss', 'reference_accuracy')
  ]


def escape_latex(text: object) -> str:
  """Returns the LaTeX that shows a text."""
  return ''.join(_TEX.get(character, character) for character in str(text))


def _tex_interval(estimate: statistics.Estimate, sign: bool = False) -> str:
  text = interval(estimate, sign=sign)
  return '--' if text == '-' else f'${text}$'


def lines(sweep: sweep_results.Sweep, findings: findings_lib.Findings) -> list[str]:
  """Returns lines for a terminal: the answer, the warnings and a line per arm."""
  loss, accuracy = _loss_and_accuracy(sweep)
  width = max(map(len, ['arm', *sweep.arms]))
  shown = [sweep.question, *findings.answer, *(f'WARNING: {each}' for each in findings.warnings)]
  shown += [findings.missing] if findings.missing else []
  shown.append(
    f'{"arm":<{width}}  seeds  {"reference loss":<24}  {"accuracy":>8}  '
    f'{_difference_in(sweep)} to {sweep.baseline}'
  )
  for arm in sweep.arms:
    difference = findings.differences.get(arm)
    text = (
      'baseline'
      if arm == sweep.baseline
      else 'not comparable'
      if difference is None
      else f'{interval(difference.estimate, sign=True)} {difference.verdict}'
    )
    # Losses of other tokens must not be shown side by side, not even without a claim.
    known = arm not in findings.refused
    hits = accuracy[arm].mean
    mean = f'{hits:.3f}' if known and hits is not None else '-'
    reached = interval(loss[arm]) if known else '-'
    shown.append(f'{arm:<{width}}  {loss[arm].n:>5}  {reached:<24}  {mean:>8}  {text}')
  return shown
