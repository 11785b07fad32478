"""report.html: a sweep on one page, in one file that needs nothing else."""

import importlib.resources
import os
import pathlib
import urllib.parse

import matplotlib

from mlm_jax.report import figures
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import sections
from mlm_jax.report import tables
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag

# Nothing is loaded, from anywhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_WIDTHS = {'wide': 860, 'narrow': 360}
# Of arms without an order, for light and dark paper; colour-blind readers can tell them apart.
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


def render(sweep, findings, folder):
  """Returns the text of report.html, which is to stand in `folder`."""
  head = tag(
    'head',
    tag('meta', charset='utf-8'),
    tag('meta', http_equiv='Content-Security-Policy', content=_POLICY),
    tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
    tag('title', sweep.question),
    tag('style', Markup(_colors(sweep) + _file('report.css'))),
  )
  main = tag(
    'main',
    _title(sweep),
    _answer(findings),
    _curves(sweep, findings),
    _response(sweep, findings),
    sections.differences(sweep, findings),
    sections.finals(sweep, findings),
    sections.slices(sweep, findings),
    sections.costs(sweep),
    sections.runs(sweep, lambda run: _link(run, folder)),
    sections.protocol(sweep),
  )
  body = tag('body', main, tag('script', Markup(_file('report.js'))))
  return '<!DOCTYPE html>\n' + tag('html', head, body, lang='en') + '\n'


def _file(name):
  return importlib.resources.files('mlm_jax.report').joinpath(name).read_text(encoding='utf-8')


def _link(run, folder):
  """Returns the relative address of a run's folder."""
  return urllib.parse.quote(pathlib.Path(os.path.relpath(run.folder, folder)).as_posix()) + '/'


def _colors(sweep):
  """Returns the style rules that give each arm its colour.

  The baseline has that of the text. Arms of one number have their place on a scale.
  """
  others = [arm for arm in sweep.arms if arm != sweep.baseline]
  light, dark = [], []
  for number, arm in enumerate(sweep.arms):
    if arm == sweep.baseline:
      pair = 'var(--ink)', 'var(--ink)'
    elif figures.numeric_setting(sweep):
      share = others.index(arm) / max(len(others) - 1, 1)
      pair = _on_scale(0.1 + 0.72 * share), _on_scale(0.35 + 0.6 * share)
    else:
      pair = _COLORS[others.index(arm) % len(_COLORS)]
    rules = [f'[data-arm="{number}"] {{ --arm: {color} }}' for color in pair]
    light.append(rules[0])
    dark.append(rules[1])
  return '\n'.join([*light, '@media (prefers-color-scheme: dark) {', *dark, '}\n'])


def _on_scale(share):
  return matplotlib.colors.to_hex(matplotlib.colormaps['viridis'](share))


def _title(sweep):
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


def _answer(findings):
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


def _figure(drawn, legend, note):
  """Returns a figure drawn at each of _WIDTHS, of which the page shows the one that fits."""
  return tag(
    'figure',
    *(tag('div', svg, class_=name) for name, svg in drawn.items()),
    legend,
    tag('figcaption', note, class_='note'),
  )


def _curves(sweep, findings):
  arms = [arm for arm in sweep.arms if arm not in findings.refused]
  drawn = {name: figures.curves(sweep, width, arms) for name, width in _WIDTHS.items()}
  if None in drawn.values():
    return ''
  shown = [arm for arm in arms if any(run.curve for run in sweep.of(arm))]
  legend = tag('div', *(_switch(sweep, arm) for arm in shown), class_='legend')
  note = (
    'Held-out loss under the reference masks, nats a token. Lines are means over seeds, bands '
    'reach '
    'from the best seed to the worst. A name hides or shows its curve. What lies above the frame '
    'early '
    'in the training is cut off.'
  )
  return join([tag('h2', 'Learning curves'), _figure(drawn, legend, note)])


def _switch(sweep, arm):
  return tag(
    'button',
    tag('span', class_='swatch'),
    arm,
    type='button',
    aria_pressed='true',
    data_arm=sweep.arms.index(arm),
  )


def _response(sweep, findings):
  arms = [arm for arm in sweep.arms if arm not in findings.refused]
  drawn = {name: figures.response(sweep, width, arms) for name, width in _WIDTHS.items()}
  if None in drawn.values():
    return ''
  note = 'Final held-out loss under the reference masks: a dot a run, the line through the means.'
  name = findings_lib.last_part(figures.numeric_setting(sweep))
  return join([tag('h2', f'Loss by {name}'), _figure(drawn, '', note)])
