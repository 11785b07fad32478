"""report.html: a sweep on one page, in one file that needs nothing else."""

from collections.abc import Mapping
import importlib.resources
import os
import pathlib
import urllib.parse

import matplotlib
import matplotlib.colors

from mlm_jax.report import cross_table
from mlm_jax.report import figures
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import sections
from mlm_jax.report import slice_tables
from mlm_jax.report import tables
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag
from mlm_jax.report.sweep_results import Run
from mlm_jax.report.sweep_results import Sweep

# The page may load nothing: it is one file, and texts in it cannot reach anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_WIDTHS = {'wide': 860, 'narrow': 360}  # of figures, pixels
# Of arms without an order, on a light and a dark page; distinct for colour-blind readers too.
_COLORS = (
  ('#0072b2', '#56a9e0'),
  ('#d55e00', '#f08a45'),
  ('#008f68', '#35c79b'),
  ('#b25590', '#e093c0'),
  ('#8a7a00', '#d8c840'),
  ('#3d9ec9', '#8fd0f0'),
  ('#7a5c3e', '#c7a27d'),
  ('#6a5acd', '#a99bff'),
)


def render(sweep: Sweep, findings: findings_lib.Findings, folder: pathlib.Path) -> str:
  """Returns the text of report.html; its links are relative to `folder`, where it is written."""
  head = tag(
    'head',
    tag('meta', charset='utf-8'),
    tag('meta', http_equiv='Content-Security-Policy', content=_POLICY),
    tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
    tag('title', sweep.question),
    tag('style', Markup(_colors(sweep) + _file('report.css'))),
  )
  # From the answer to its evidence, then to how it was got.
  main = tag(
    'main',
    _title(sweep),
    _answer(findings),
    _curves(sweep, findings),
    _response(sweep, findings),
    sections.differences(sweep, findings),
    cross_table.section(sweep, findings),
    sections.finals(sweep, findings),
    slice_tables.section(sweep, findings),
    sections.costs(sweep),
    sections.runs(sweep, lambda run: _link(run, folder)),
    sections.protocol(sweep, findings),
  )
  body = tag('body', main, tag('script', Markup(_file('report.js'))))
  return '<!DOCTYPE html>\n' + tag('html', head, body, lang='en') + '\n'


def _file(name: str) -> str:
  return importlib.resources.files('mlm_jax.report').joinpath(name).read_text(encoding='utf-8')


def _link(run: Run, folder: pathlib.Path) -> str:
  """Returns the relative address of a run's folder."""
  return urllib.parse.quote(pathlib.Path(os.path.relpath(run.folder, folder)).as_posix()) + '/'


def _colors(sweep: Sweep) -> str:
  """Returns the style rules that give each arm its colour.

  The baseline has the colour of the text. Arms that differ in one number are on a colour scale.
  """
  others = [arm for arm in sweep.arms if arm != sweep.baseline]
  light, dark = [], []
  for number, arm in enumerate(sweep.arms):
    if arm == sweep.baseline:
      pair = 'var(--ink)', 'var(--ink)'
    elif figures.numeric_setting(sweep):
      share = others.index(arm) / max(len(others) - 1, 1)
      # The light end of the scale is left out on a light page, the dark end on a dark one.
      pair = _on_scale(0.1 + 0.72 * share), _on_scale(0.35 + 0.6 * share)
    else:
      pair = _COLORS[others.index(arm) % len(_COLORS)]
    # By number: the name of an arm may have characters that a selector cannot.
    rules = [f'[data-arm="{number}"] {{ --arm: {color} }}' for color in pair]
    light.append(rules[0])
    dark.append(rules[1])
  return '\n'.join([*light, '@media (prefers-color-scheme: dark) {', *dark, '}\n'])


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
      tag('p', f'{sweep.experiment} · {count(sweep.runs, "run")}, {seeds}', class_='kicker'),
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


def _figure(drawn: Mapping[str, Markup], legend: str, note: str) -> Markup:
  """Returns a figure drawn at each of _WIDTHS; the page shows the one that fits."""
  return tag(
    'figure',
    *(tag('div', svg, class_=name) for name, svg in drawn.items()),
    legend,
    tag('figcaption', note, class_='note'),
  )


def _curves(sweep: Sweep, findings: findings_lib.Findings) -> str:
  """Returns the section of learning curves, '' where there are none to draw."""
  arms = [arm for arm in sweep.arms if arm not in findings.refused]
  drawn = {
    name: svg for name, width in _WIDTHS.items() if (svg := figures.curves(sweep, width, arms))
  }
  if not drawn:
    return ''
  # A switch without a curve would look broken.
  shown = [arm for arm in arms if any(run.curve for run in sweep.of(arm))]
  legend = tag('div', *(_switch(sweep, arm) for arm in shown), class_='legend')
  note = (
    'Held-out loss under the reference masks, in nats per token. Lines are means over seeds; bands '
    'reach from the best seed to the worst. A click on a name hides or shows its curve. High '
    'losses early in the training are outside the frame.'
  )
  return join([tag('h2', 'Learning curves'), _figure(drawn, legend, note)])


def _switch(sweep: Sweep, arm: str) -> Markup:
  return tag(
    'button',
    tag('span', class_='swatch'),
    arm,
    type='button',
    aria_pressed='true',
    data_arm=sweep.arms.index(arm),
  )


def _response(sweep: Sweep, findings: findings_lib.Findings) -> str:
  """Returns the section of the loss by the varied number, '' where there is none to draw."""
  key = figures.numeric_setting(sweep)
  arms = [arm for arm in sweep.arms if arm not in findings.refused]
  drawn = {
    name: svg for name, width in _WIDTHS.items() if (svg := figures.response(sweep, width, arms))
  }
  if key is None or not drawn:
    return ''
  note = f'Final {sweep.metric.replace("_", " ")}: a dot per run, the line through the means.'
  return join(
    [
      tag('h2', f'{sweep.score.capitalize()} by {findings_lib.last_part(key)}'),
      _figure(drawn, '', note),
    ]
  )
