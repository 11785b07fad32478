"""What `mlm-jax report SWEEP` writes."""

import pathlib

from mlm_jax import config as config_lib
from mlm_jax.analysis import findings as findings_lib
from mlm_jax.analysis import page
from mlm_jax.analysis import sweep as sweep_lib
from mlm_jax.analysis import tables

_NAMES = ('results.csv', 'table.tex', 'report.html')
_FILES = ('.csv', '.tex', '.html', '.png', '.svg', '.pdf')


def write(folder, out=None):
  """Writes results.csv, table.tex and report.html of a sweep into `out`, its folder if not given.

  Returns the lines that a terminal shows.

  Raises:
    UserError: there is nothing to report, a file is damaged, or `out` cannot be written.
  """
  out = pathlib.Path(out or folder)
  if out.suffix in _FILES:
    raise config_lib.UserError(f'--out={out}: of a sweep, --out is the folder that {", ".join(_NAMES)} are '
                               'written to')
  sweep = sweep_lib.read(folder)
  found = findings_lib.find(sweep)
  rendered = tables.results(sweep), tables.latex(sweep, found), page.render(sweep, found, out)
  texts = dict(zip(_NAMES, rendered))
  try:
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
      partial = out / (name + '.partial')
      partial.write_text(text, encoding='utf-8', newline='\n')
      partial.rename(out / name)
  except OSError as error:
    raise config_lib.UserError(f'cannot write to {out}: {error.strerror or error}; give another folder '
                               'with --out') from None
  return tables.lines(sweep, found) + [f'{name.split(".")[0]}: {out / name}' for name in texts]
