"""What `mlm-jax report SWEEP` writes."""

import os
import pathlib

from mlm_jax import config as config_lib
from mlm_jax.core import files as files_lib
from mlm_jax.report import cross_table
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import page
from mlm_jax.report import picture
from mlm_jax.report import run_logs
from mlm_jax.report import sweep_results
from mlm_jax.report import tables

_NAMES = ('results.csv', 'table.tex', 'report.html', 'figure.png')
# Suffixes of an --out that was meant as a file.
_FILES = ('.csv', '.tex', '.html', '.png', '.svg', '.pdf')


def write(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> list[str]:
  """Writes results.csv, table.tex, report.html and figure.png; returns lines for a terminal.

  Args:
    folder: of the sweep.
    out: the folder to write to; the sweep's if not given.

  Raises:
    UserError: there is nothing to report, a file is damaged, or `out` cannot be written.
  """
  out = pathlib.Path(out or folder)
  if out.suffix in _FILES:
    raise config_lib.UserError(
      f'--out={out}: for a sweep, --out is the folder that {", ".join(_NAMES)} are written to'
    )
  sweep = sweep_results.read(folder)
  found = findings_lib.find(sweep)
  # All are made before the first is written, so that an error leaves the old ones together.
  texts = tables.results(sweep), tables.latex(sweep, found), page.render(sweep, found, out)
  arms = [arm for arm in sweep.arms if arm not in found.refused]
  files = dict(zip(_NAMES, [text.encode() for text in texts] + [picture.render(sweep, arms)]))
  try:
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
      files_lib.write(out / name, content)
  except OSError as error:
    raise config_lib.UserError(
      f'cannot write to {out}: {error.strerror or error}; give another folder with --out'
    ) from None
  lines = tables.lines(sweep, found) + cross_table.lines(sweep, found)
  # One line a module would be said of each run again.
  changed = [line for run in sweep.runs for line in run_logs.changed_code(run.folder)][:1]
  written = [f'{name.split(".")[0]}: {out / name}' for name in files]
  return lines + [f'warning: {line}' for line in changed] + written
