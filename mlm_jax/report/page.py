"""report.html: a sweep on one page, in one file that needs nothing else."""

import os
import pathlib
import urllib.parse

import matplotlib
import matplotlib.colors

from mlm_jax.core import places
from mlm_jax.report import cross_table
from mlm_jax.report import difference_table
from mlm_jax.report import document
from mlm_jax.report import figures
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import judge_table
from mlm_jax.report import sections
from mlm_jax.report import slice_tables
from mlm_jax.report import tables
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag
from mlm_jax.report.sweep_results import Run
from mlm_jax.report.sweep_results import Sweep


def render(sweep: Sweep, findings: findings_lib.Findings, folder: pathlib.Path) -> str:
  """Returns the text of report.html; its links are relative to `folder`, where it is written."""
  # From the answer to its evidence, then to how it was got.
  return document.render(
    sweep.question,
    _colors(sweep),
    _title(sweep),
    _answer(findings),
    judge_table.section(sweep, findings),
    _curves(sweep, findings),
    _response(sweep, findings),
    difference_table.section(sweep, findings),
    cross_table.section(sweep, findings),
    sections.finals(sweep, findings),
    slice_tables.section(sweep, findings),
    sections.costs(sweep),
    sections.runs(sweep, lambda run: _link(run, folder)),
    sections.protocol(sweep, findings),
  )


def _link(run: Run, folder: pathlib.Path) -> str | None:
  """Returns the relative address of a run's folder, None where it would tell where that lies."""
  place, here = (pathlib.Path(os.path.abspath(each)) for each in (run.folder, folder))
  # With nothing but the root in common the address would be the absolute one.
  if os.path.commonpath((place, here)) == place.anchor:
    return None
  return urllib.parse.quote(pathlib.Path(os.path.relpath(place, here)).as_posix()) + '/'


def _colors(sweep: Sweep) -> str:
  """Returns the style rules that give each arm its colour.

  The baseline has the colour of the text. Arms that differ in one number are on a colour scale.
  """
  others = [arm for arm in sweep.arms if arm != sweep.baseline]
  pairs = []
  for arm in sweep.arms:
    if arm == sweep.baseline:
      pairs.append(('var(--ink)', 'var(--ink)'))
    elif figures.numeric_setting(sweep):
      share = others.index(arm) / max(len(others) - 1, 1)
      # The light end of the scale is left out on a light page, the dark end on a dark one.
      pairs.append((_on_scale(0.1 + 0.72 * share), _on_scale(0.35 + 0.6 * share)))
    else:
      pairs.append(document.color(others.index(arm)))
  return document.colors(pairs)


def _on_scale(share: float) -> str:
  return matplotlib.colors.to_hex(matplotlib.colormaps['viridis'](share))


def _title(sweep: Sweep) -> Markup:
  count = lambda names, word: f'{len(names)} {word}' + ('s' if len(names) != 1 else '')
  seeds = f'{count(sweep.arms, "arm")} with {count(sweep.seeds, "seed")}'
  varied = [
    join([tag('code', key), ' ' + ', '.join(map(tables.setting, values))])
    for key, values in sweep.varied.items()
  ]
  text = [part for each in varied for part in ('; ', each)][1:]
  return join(
    [
      tag(
        'p',
        f'{places.without_folders(sweep.experiment)} · {count(sweep.runs, "run")}, {seeds}',
        class_='kicker',
      ),
      tag('h1', sweep.question),
      tag('p', 'Varied: ', *text, class_='note') if varied else '',
    ]
  )


def _answer(findings: findings_lib.Findings) -> Markup:
  return join(
    [
      tag('div', *(tag('p', sentence) for sentence in findings.answer), class_='answer'),
      *(
        tag('p', each, class_='warning', role='note')
        for each in [*findings.warnings, findings.missing]
        if each
      ),
    ]
  )


def _curves(sweep: Sweep, findings: findings_lib.Findings) -> str:
  """Returns the section of learning curves, '' where there are none to draw."""
  arms = [arm for arm in sweep.arms if arm not in findings.refused]
  drawn = document.at_widths(lambda width: figures.curves(sweep, width, arms))
  if not drawn:
    return ''
  # A switch without a curve would look broken.
  shown = [arm for arm in arms if any(run.curve for run in sweep.of(arm))]
  legend = document.legend({arm: sweep.arms.index(arm) for arm in shown})
  note = (
    'Held-out loss under the reference masks, in nats per token. Lines are means over seeds; bands '
    'reach from the best seed to the worst. A click on a name hides or shows its curve. High '
    'losses early in the training are outside the frame.'
  )
  if sweep.fine_tunes:
    note = (
      f'{figures.curve_label(sweep).capitalize()}. Lines are means over seeds; bands reach from '
      'the least seed to the most. A click on a name hides or shows its curve.'
    )
  return join([tag('h2', 'Learning curves'), document.figure(drawn, legend, note)])


def _response(sweep: Sweep, findings: findings_lib.Findings) -> str:
  """Returns the section of the loss by the varied number, '' where there is none to draw."""
  key = figures.numeric_setting(sweep)
  arms = [arm for arm in sweep.arms if arm not in findings.refused]
  drawn = document.at_widths(lambda width: figures.response(sweep, width, arms))
  if key is None or not drawn:
    return ''
  note = f'Final {sweep.metric.replace("_", " ")}: a dot per run, the line through the means.'
  return join(
    [
      tag('h2', f'{sweep.score.capitalize()} by {findings_lib.last_part(key)}'),
      document.figure(drawn, '', note),
    ]
  )
