"""What `mlm-jax report` writes of several sweeps of one question: each one's own, and one table.

The folder has a suite.json that names the sweeps in it, see sweeps/suites.py. Intervals are
simultaneous within a sweep, not over all of them.
"""

from collections.abc import Mapping
import os
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.core import files as files_lib
from mlm_jax.report import document
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import sweep_report
from mlm_jax.report import sweep_results
from mlm_jax.report import tables
from mlm_jax.report import tidy
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import tag

LIST = 'suite.json'
_NOTE = (
  'Mean of the metric over the seeds, with its 95 % interval (Student); below it the paired '
  'difference to the baseline, with an interval that is simultaneous over the arms of its sweep. '
  'Bold where that excludes 0, from three seeds or more.'
)
_Found = Mapping[str, tuple[sweep_results.Sweep, findings_lib.Findings]]


def names(folder: str | os.PathLike[str]) -> list[str]:
  """Returns the names of the sweeps in a folder, [] where it is not that of several.

  Raises:
    UserError: the list is damaged.
  """
  path = pathlib.Path(folder) / LIST
  if not os.path.lexists(path):
    return []
  found = config_lib.read_json(path)
  listed = found.get('sweeps') if isinstance(found, dict) else None
  if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
    raise config_lib.UserError(f'{path} is damaged; the same mlm-jax sweep writes it again')
  return listed


def write(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> list[str]:
  """Writes the reports of all sweeps that have begun, and one table; returns lines for a terminal.

  Args:
    folder: of the sweeps.
    out: the folder to write to; that of the sweeps if not given.

  Raises:
    UserError: see sweep_report.write.
  """
  folder, out = pathlib.Path(folder), pathlib.Path(out or folder)
  listed = names(folder)
  begun = [name for name in listed if sweep_results.is_sweep(folder / name)]
  if not begun:
    raise config_lib.UserError(f'none of the sweeps of {folder} has begun: {", ".join(listed)}')
  lines, found = [], {}
  for name in begun:
    sweep = sweep_results.read(folder / name)
    found[name] = sweep, findings_lib.find(sweep)
    lines += [f'== {name}', *sweep_report.write(folder / name, out / name), '']
  waiting = [name for name in listed if name not in begun]
  lines += [f'not begun: {", ".join(waiting)}'] if waiting else []
  for name, text in (('results.csv', results(found)), ('report.html', page(found))):
    files_lib.write(out / name, text.encode())
    lines.append(f'{pathlib.Path(name).stem}: {out / name}')
  return lines


def results(found: _Found) -> str:
  """Returns the text of results.csv: a line for each arm of each sweep."""
  columns = ['sweep', 'arm', 'metric', 'seeds', 'mean', 'low', 'high', 'against']
  rows = []
  for name, (sweep, findings) in found.items():
    means = findings_lib.estimates(sweep, sweep.metric)
    for arm in sweep.arms:
      mean, difference = means[arm], findings.differences.get(arm)
      row: list[Any] = [name, arm, sweep.metric, mean.n, mean.mean, mean.low, mean.high]
      if difference is None:
        rows.append([*row, *[None] * 5])
        continue
      paired = difference.estimate
      rows.append([*row, sweep.baseline, paired.mean, paired.low, paired.high, difference.verdict])
  return tidy.text([*columns, 'difference', 'difference_low', 'difference_high', 'verdict'], rows)


def page(found: _Found) -> str:
  """Returns the text of report.html: a row an arm, a column a sweep."""
  arms = list(dict.fromkeys(arm for sweep, _ in found.values() for arm in sweep.arms))
  rows = [[document.cell(arm), *(_cell(*each, arm) for each in found.values())] for arm in arms]
  links = [
    tag('li', tag('a', f'{name}: {sweep.question}', href=f'{name}/report.html'))
    for name, (sweep, _) in found.items()
  ]
  headers = [f'{name} ({sweep.metric.replace("_", " ")})' for name, (sweep, _) in found.items()]
  title = ', '.join(found)
  return document.render(
    title,
    '',
    tag('h1', title),
    tag('p', _NOTE, class_='note'),
    document.table(['arm', *headers], rows),
    tag('ul', *links),
  )


def _cell(sweep: sweep_results.Sweep, findings: findings_lib.Findings, arm: str) -> Markup:
  """Returns what an arm has reached in a sweep, and its difference to the baseline."""
  if arm not in sweep.arms:
    return document.cell('-')
  mean, difference = findings_lib.estimates(sweep, sweep.metric)[arm], findings.differences.get(arm)
  reached = tables.interval(mean)
  if difference is None:
    return document.cell(reached, mean.mean)
  paired = tables.interval(difference.estimate, sign=True)
  shown = tag('b', paired) if difference.verdict in ('lower', 'higher') else paired
  return document.cell(tag('span', reached, tag('br'), shown), mean.mean)
