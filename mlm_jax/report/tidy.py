"""Tidy tables, one number a row: curves of runs and of sweeps, scores by slices."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import csv
import io
import math
import os
from typing import Any

from mlm_jax.report import run_logs
from mlm_jax.report import sweep_results
from mlm_jax.training import logs

_LOGS = 'metrics', 'evaluations'  # of the training; of the held-out rows


def curve_rows(workdir: str | os.PathLike[str]) -> Iterator[tuple[int, str, str, float]]:
  """Yields (step, metric, source, value) of the logs of a run; source is '' for all sources.

  A value that was not finite is NaN. Lists, such as what an adaptive policy has learned, are no
  points of a curve and are left out.
  """
  for log in _LOGS:
    for line in logs.read_log(workdir, log):
      for name, value in line.items():
        # Such as reference_loss_on_SOURCE; no metric has _on_ in its own name.
        metric, _, source = name.partition('_on_')
        if name != 'step' and (value is None or type(value) in (int, float)):
          yield line['step'], metric, source, math.nan if value is None else value


def of_runs(workdirs: Sequence[str | os.PathLike[str]]) -> str:
  """Returns the text of a csv file of the curves of runs, training and held-out, in full."""
  rows = ([run_logs.name(each), *row] for each in workdirs for row in curve_rows(each))
  return text(('run', 'step', 'metric', 'source', 'value'), rows)


def curves(sweep: sweep_results.Sweep) -> str:
  """Returns the text of curves.csv: the held-out scores and the training loss of every run."""
  # Not all of the training's log: of a sweep that would be tens of megabytes.
  rows = _of_each_run(
    sweep,
    lambda run: (
      row
      for row in curve_rows(run.folder)
      if row[1].startswith(('reference_', 'policy_', 'validation_')) or row[1] == 'loss'
    ),
  )
  return text(('run', 'arm', 'seed', 'step', 'metric', 'source', 'value'), rows)


def slices(sweep: sweep_results.Sweep) -> str:
  """Returns the text of slices.csv: the scores of every finished run by kinds of masked tokens."""
  rows = _of_each_run(
    sweep,
    lambda run: (
      (kind, row['slice'], row['tokens'], row['loss'], row['accuracy'])
      for kind, of_kind in run.slices.get('slices', {}).items()
      for row in of_kind
    ),
  )
  return text(('run', 'arm', 'seed', 'kind', 'slice', 'tokens', 'loss', 'accuracy'), rows)


def _of_each_run(
  sweep: sweep_results.Sweep, rows: Callable[[sweep_results.Run], Iterable[Sequence[Any]]]
) -> Iterator[list[Any]]:
  return ([run.name, run.arm, run.seed, *row] for run in sweep.runs for row in rows(run))


def text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """Returns the text of a csv file."""
  written = io.StringIO()
  writer = csv.writer(written, lineterminator='\n')
  writer.writerow(header)
  writer.writerows([exact(value) for value in row] for row in rows)
  return written.getvalue()


def exact(value: Any) -> str:
  """Returns a cell of a csv file, '' where nothing is known."""
  # Nine digits: two more than the logs have, so that means of them can be checked.
  return '' if value is None else f'{value:.9g}' if isinstance(value, float) else str(value)
