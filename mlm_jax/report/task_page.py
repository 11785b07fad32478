"""The page of one fine-tuned run: its scores and its errors, its curves, and what it was."""

from collections.abc import Mapping
import math
import os

from mlm_jax import config as config_lib
from mlm_jax.core import places
from mlm_jax.report import document
from mlm_jax.report import run_curves
from mlm_jax.report import run_logs
from mlm_jax.report import run_page
from mlm_jax.report import task_errors
from mlm_jax.report import task_scores
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag
from mlm_jax.training import workdir as workdir_lib

_LOSS_NOTE = (
  'A mean over what is predicted: in nats, of numbers the squared error as they are scaled. The '
  'points of the training loss are means over what was logged between them. A click on a name '
  'hides or shows its curve.'
)
_SCORE_NOTE = 'The metric that chooses the checkpoint, on the validation examples.'
_INTERVAL_NOTE = (
  ' Intervals say what other examples would change, of the same model: a bootstrap over examples.'
)


def render(workdir: str | os.PathLike[str]) -> str:
  """Returns the text of the page of a fine-tuned run, finished or not.

  Raises:
    UserError: there is no run, or a file of it is damaged.
  """
  config, scored = workdir_lib.read_config(workdir), task_scores.test(workdir)
  losses = run_curves.losses(workdir)
  ranks = task_scores.ranks(config)
  score = run_curves.validation(workdir, ranks)
  name = run_logs.name(workdir)
  pairs = [run_page.color(number, curve) for number, curve in enumerate(losses)]
  return document.render(
    f'Run {name}',
    document.colors(pairs or [run_page.INK]),
    tag('p', f'{config.model.family} · {config.task.name} · a run of mlm_jax', class_='kicker'),
    tag('h1', name),
    _answer(workdir, config, scored),
    run_page.curves('Loss', losses, 'loss', _LOSS_NOTE),
    run_page.curves(_words(ranks).capitalize(), score, _words(ranks), _SCORE_NOTE)
    if ranks != 'loss'
    else '',
    _scores(scored, task_scores.intervals(workdir, config, scored)),
    task_errors.render(workdir, scored),
    run_page.protocol(workdir, config, {'Training examples': config.task.train}),
  )


def _words(metric: str) -> str:
  return metric.replace('_', ' ')


def _answer(
  workdir: str | os.PathLike[str], config: config_lib.Config, scored: task_scores.Test | None
) -> Markup:
  """Returns the score in words, and what the run lacks."""
  said = ''
  if scored is not None:
    ranks = task_scores.ranks(config)
    start = 'untrained' if config.task.from_scratch else f'of {_last(config.init_from)}'
    said = (
      f'The {_words(ranks)} is {scored.scores.get(ranks, math.nan):.3f} on {scored.examples:,} '
      f'{scored.split} examples, by the model of step {scored.step:,}; its encoder was {start}. '
      f'One run with seed {config.seed}: there is no interval over seeds.'
    )
  return join(
    [
      tag('div', tag('p', said), class_='answer') if said else '',
      *(tag('p', each, class_='warning', role='note') for each in task_scores.lacking(workdir)),
    ]
  )


def _last(place: str) -> str:
  return places.without_folders(place)


def _scores(
  scored: task_scores.Test | None, intervals: Mapping[str, tuple[float, float]]
) -> Markup | str:
  if scored is None:
    return ''
  rows = [
    [
      document.cell(_words(name)),
      document.cell(f'{value:.4f}', value),
      *([_between(intervals.get(name))] if intervals else []),
    ]
    for name, value in scored.scores.items()
  ]
  note = f'Of {scored.examples:,} {scored.split} examples, scored once, at step {scored.step:,}.'
  note += _INTERVAL_NOTE if intervals else ''
  return join(
    [
      tag('h2', 'Scores'),
      tag('p', note, class_='note'),
      document.table(['metric', 'score', *(['95 % interval'] if intervals else [])], rows),
    ]
  )


def _between(interval: tuple[float, float] | None) -> Markup:
  if interval is None:
    return document.cell('–', '')
  return document.cell(f'{interval[0]:.4f} to {interval[1]:.4f}', interval[0])
