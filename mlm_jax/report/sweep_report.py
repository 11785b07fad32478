"""What `mlm-jax report SWEEP` writes."""

import os
import pathlib

from mlm_jax import config as config_lib
from mlm_jax.core import files as files_lib
from mlm_jax.report import cross_table
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import judge_table
from mlm_jax.report import page
from mlm_jax.report import picture
from mlm_jax.report import run_logs
from mlm_jax.report import sweep_results
from mlm_jax.report import tables
from mlm_jax.report import tidy

_TEXTS = (
  'results.csv',
  'differences.csv',
  'slices.csv',
  'curves.csv',
  'table.tex',
  'report.html',
)
_FIGURES = tuple(f'figure.{kind}' for kind in picture.KINDS)
_FILES = ('.csv', '.tex', '.html')  # suffixes of an --out that was meant as a file


def write(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> list[str]:
  """Writes tables, page and figure of a sweep, or its figure alone; returns lines for a terminal.

  Args:
    folder: of the sweep.
    out: the folder to write to, or a file that ends in .png, .svg or .pdf; the sweep's folder if
      not given.

  Raises:
    UserError: there is nothing to report, a file is damaged, or `out` cannot be written.
  """
  out = pathlib.Path(out or folder)
  if out.suffix in _FILES:
    raise config_lib.UserError(
      f'--out={out}: for a sweep, --out is the folder that {", ".join(_TEXTS + _FIGURES)} '
      'are written to, or the figure alone, a file that ends in .png, .svg or .pdf'
    )
  sweep = sweep_results.read(folder)
  found = findings_lib.find(sweep)
  # All are made before the first is written, so that an error leaves the old ones together.
  files = _files(sweep, found, out)
  try:
    for path, content in files.items():
      path.parent.mkdir(parents=True, exist_ok=True)
      files_lib.write(path, content)
  except OSError as error:
    raise config_lib.UserError(
      f'cannot write to {out}: {error.strerror or error}; give another folder with --out'
    ) from None
  lines = tables.lines(sweep, found) + judge_table.lines(sweep, found)
  lines += cross_table.lines(sweep, found)
  # One line a module would be said of each run again.
  changed = [line for run in sweep.runs for line in run_logs.changed_code(run.folder)][:1]
  written = [f'{path.stem}: {path}' for path in files]
  return lines + [f'warning: {line}' for line in changed] + written


def _files(
  sweep: sweep_results.Sweep, found: findings_lib.Findings, out: pathlib.Path
) -> dict[pathlib.Path, bytes]:
  """Returns {path: content} of all that is to be written."""
  arms = [arm for arm in sweep.arms if arm not in found.refused]
  kind = out.suffix.removeprefix('.')
  if kind in picture.KINDS:
    return {out: picture.render(sweep, arms, (kind,))[kind]}
  texts = (
    tables.results(sweep),
    tables.differences(sweep, found),
    tidy.slices(sweep),
    tidy.curves(sweep),
    tables.latex(sweep, found),
    page.render(sweep, found, out),
  )
  files = {out / name: text.encode() for name, text in zip(_TEXTS, texts)}
  if sweep.judges:
    files[out / 'judges.csv'] = judge_table.csv(sweep, found).encode()
  drawn = picture.render(sweep, arms)
  return files | {out / f'figure.{kind}': content for kind, content in drawn.items()}
