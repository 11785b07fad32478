"""The page of one run: its scores, its curves, by source too, and what it was."""

import math
import os
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.core import places
from mlm_jax.data import extension as extension_lib
from mlm_jax.report import document
from mlm_jax.report import figures
from mlm_jax.report import run_curves
from mlm_jax.report import run_logs
from mlm_jax.report import tables
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag
from mlm_jax.training import changes
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib

INK, _SOFT = ('var(--ink)', 'var(--ink)'), ('var(--soft)', 'var(--soft)')
_CURVES_NOTE = (
  'Loss in nats per token. Held out: under the reference masks, which hide 15 % of the tokens, all '
  'by [MASK], of all sources and of each where there are several, or under the masks of the run’s '
  'own policy. The training loss is under its own masks too, of text that the model learns from; '
  'its points are means over what was logged between them. A click on a name hides or shows its '
  'curve. High losses early in the training are outside the frame.'
)
_SLICES_NOTE = (
  'Loss and accuracy of masked held-out tokens by their kind, at step {:,}, under the reference '
  'masks unless it says otherwise.'
)


def render(workdir: str | os.PathLike[str]) -> str:
  """Returns the text of the page of a run, finished or not; it names no folder of this machine.

  Raises:
    UserError: there is no run, or a file of it is damaged.
  """
  config = workdir_lib.read_config(workdir)
  losses = run_curves.losses(workdir)
  name = run_logs.name(workdir)
  return document.render(
    f'Run {name}',
    document.colors([color(number, curve) for number, curve in enumerate(losses)]),
    tag(
      'p', f'{config.model.family} · {config.objective.name} · a run of mlm_jax', class_='kicker'
    ),
    tag('h1', name),
    _answer(workdir, config),
    curves('Learning curves', losses, 'loss (nats per token)', _CURVES_NOTE),
    _adaptation(workdir, config),
    _sources(workdir),
    _slices(workdir),
    protocol(workdir, config, {'Data': config.data.source}),
  )


def color(number: int, curve: run_curves.Curve) -> tuple[str, str]:
  """Returns the colours of a curve, on a light and on a dark page."""
  return {'reference': INK, 'training': _SOFT}.get(curve.kind) or document.color(number - 1)


def _answer(workdir: str | os.PathLike[str], config: config_lib.Config) -> Markup:
  """Returns the newest scores in words, and what the run lacks."""
  line = logs.read_log(workdir, 'evaluations')[-1:]
  score = line[0].get('reference_loss') if line else None
  said = ''
  if line and score is not None:
    said = (
      f'After {line[0]["step"]:,} of {config.total_steps:,} steps the held-out loss under the '
      f'reference masks is {score:.3f} nats per token'
    )
    accuracy = line[0].get('reference_accuracy')
    if accuracy is not None:
      said += f', and {100 * accuracy:.1f} % of the hidden tokens are guessed'
    said += f', over {_rows(config)}. One run with seed {config.seed}: there is no interval.'
  return join(
    [
      tag('div', tag('p', said), class_='answer') if said else '',
      *(tag('p', each, class_='warning', role='note') for each in run_logs.lacking(workdir)),
    ]
  )


def _adaptation(workdir: str | os.PathLike[str], config: config_lib.Config) -> Markup | str:
  """Returns what an adaptation gained and lost, and why it ended; '' of other runs."""
  points = run_logs.values(workdir, 'evaluations', 'reference_loss', run_curves.GENERAL)
  if 'adapt' not in config or not points:
    return ''
  ended = workdir_lib.finished(workdir)
  model = (ended or {}).get('model', points[-1][0])
  named = {'start': points[0][0], 'the model' if ended else 'newest': model, 'last': points[-1][0]}
  rows = []
  for name, at in named.items():
    for step, *losses in points:
      if step == at:
        rises = [loss - first for loss, first in zip(losses, points[0][1:])]
        cells = (document.cell(f'{each:.3f}', each) for each in losses)
        changed = (document.cell(f'{each:+.3f}', each) for each in rises)
        rows.append([document.cell(name), document.cell(f'{step:,}', step), *cells, *changed])
  said = f'General text may lose {config.adapt.allowance:g} nats. '
  said += (
    f'It ended at step {ended["step"]:,}: {ended["reason"]}.' if ended else 'It has not ended.'
  )
  if extension := extension_lib.read(pathlib.Path(workdir) / 'tokenizer'):
    said += f' Its tokenizer has {extension.said()}.'
  head = ['', 'step', 'domain', 'general', 'change of domain', 'change of general']
  return join(
    [
      tag('h2', 'Adaptation'),
      tag('p', said),
      tag('p', 'Held-out loss in nats per token, under the reference masks.', class_='note'),
      document.table(head, rows),
    ]
  )


def _rows(config: config_lib.Config) -> str:
  rows = config.evaluation.rows
  return f'about {rows:,} held-out rows' if rows else 'all held-out rows'


def curves(title: str, given: list[run_curves.Curve], label: str, note: str) -> Markup | str:
  """Returns the section of curves over the steps, '' where none has two points.

  Args:
    title: of the section, unique on the page.
    given: the curves.
    label: of the y axis, with its unit.
    note: what stands below.
  """
  lines = [_line(curve) for curve in given]
  name = title.split()[-1].lower()
  drawn = document.at_widths(lambda width: _drawn(f'{name}{width}', width, given, lines, label))
  if not drawn:
    return ''
  legend = document.legend({curve.name: number for number, curve in enumerate(given)})
  return join([tag('h2', title), document.figure(drawn, legend, note)])


def _line(curve: run_curves.Curve) -> figures.Line:
  points = run_curves.thinned(curve.points) if curve.kind == 'training' else curve.points
  return [(step, loss, loss, loss) for step, loss in points]


def _drawn(
  name: str,
  width: int,
  given: list[run_curves.Curve],
  lines: list[figures.Line],
  label: str,
) -> Markup | None:
  frame = figures.fitted(name, width, lines, ('step', label))
  if frame is None:
    return None
  classes = {'reference': 'arm base', 'training': 'arm pale'}
  drawn = [
    frame.curve(curve.name, line, number, classes.get(curve.kind, 'arm'))
    for number, (curve, line) in enumerate(zip(given, lines))
  ]
  return frame.svg(f'{label} over the training', *reversed(drawn))


def _sources(workdir: str | os.PathLike[str]) -> Markup | str:
  """Returns the table of held-out losses by source, '' where there is one source."""
  rows = []
  for source in run_curves.sources(workdir):
    points = run_logs.values(workdir, 'evaluations', f'reference_loss_on_{source}')
    known = [(loss, step) for step, loss in points if math.isfinite(loss)]
    if known:
      (last, _), (least, at) = known[-1], min(known)
      rows.append(
        [
          document.cell(source),
          *(document.cell(f'{loss:.3f}', loss) for loss in (last, least)),
          document.cell(f'{at:,}', at),
        ]
      )
  if not rows:
    return ''
  return join(
    [
      tag('h2', 'Held-out loss by source'),
      tag('p', 'In nats per token, under the reference masks.', class_='note'),
      document.table(['source', 'newest', 'least', 'at step'], rows),
    ]
  )


def _slices(workdir: str | os.PathLike[str]) -> Markup | str:
  """Returns the tables of scores by kinds of masked tokens, '' where there are none."""
  try:
    return _tables(run_logs.slices(workdir))
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise config_lib.UserError(
      f'{workdir}/slices.json is damaged ({type(error).__name__}: {error}); remove it'
    ) from None


def _tables(scores: dict[str, Any]) -> Markup | str:
  if not scores.get('slices'):
    return ''
  parts = [
    tag('h2', 'Where it is good'),
    tag('p', _SLICES_NOTE.format(scores.get('step', 0)), class_='note'),
  ]
  for kind, of_kind in scores['slices'].items():
    own = ' (under its own masks)' if kind == 'policy action' else ''
    rows = [
      [
        document.cell(row['slice'], number),
        document.cell(f'{row["tokens"]:,}', row['tokens']),
        *(_score(row[metric]) for metric in ('loss', 'accuracy')),
      ]
      for number, row in enumerate(of_kind)
    ]
    parts += [
      tag('h3', f'By {kind}{own}'),
      document.table(['slice', 'tokens', 'loss', 'accuracy'], rows),
    ]
  return join(parts)


def _score(value: float | None) -> Markup:
  return document.cell('–', '') if value is None else document.cell(f'{value:.3f}', value)


def protocol(
  workdir: str | os.PathLike[str], config: config_lib.Config, data: dict[str, str]
) -> Markup:
  """Returns the section that says what the run was, on which data, and with which settings."""
  starts = workdir_lib.read_environment(workdir)
  versions = starts[-1].get('versions', {}) if starts else {}
  entries = {
    **{name: places.without_folders(each) for name, each in data.items()},
    **{
      (name if name != 'data' else 'data fingerprint').capitalize(): (
        value if type(value) is int else str(value)[:12]
      )
      for name, value in run_logs.fingerprints(workdir, config).items()
      if value is not None
    },
    'Versions': ', '.join(f'{name} {version}' for name, version in versions.items()),
    'Changed': ' '.join(
      places.prose_without_folders(changes.in_words(each)) + '.' for each in changes.read(workdir)
    ),
  }
  items = [
    part for name, value in entries.items() if value for part in (tag('dt', name), tag('dd', value))
  ]
  settings = [
    [
      document.cell(tag('code', key), key),
      document.cell(tables.setting(value), class_='wrap left'),
    ]
    for key, value in config_lib.flatten(config.to_dict()).items()
  ]
  return join(
    [
      tag('h2', 'What it was'),
      tag('dl', *items),
      tag(
        'details', tag('summary', 'All settings'), document.table(['setting', 'value'], settings)
      ),
    ]
  )
