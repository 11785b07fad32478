"""What `mlm-jax report RUN ...` writes: one file, of the kind that its suffix says."""

from collections.abc import Sequence
import os
import pathlib

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.report import curve
from mlm_jax.report import picture
from mlm_jax.report import run_logs
from mlm_jax.report import run_page
from mlm_jax.report import task_page
from mlm_jax.report import task_scores
from mlm_jax.report import tidy

_KINDS = (*picture.KINDS, 'csv', 'html')


def write(workdirs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> None:
  """Writes a picture of the curves of runs, their numbers (.csv), or the page of one run (.html).

  Raises:
    UserError: no such run, a damaged log, another suffix, or `out` cannot be written.
  """
  kind = pathlib.Path(out).suffix.removeprefix('.')
  if kind not in _KINDS:
    *others, last = (f'.{each}' for each in _KINDS)
    raise config_lib.UserError(f'--out={out}: must end in {", ".join(others)} or {last}')
  content = _content(workdirs, kind)
  try:
    files.write(pathlib.Path(out), content)
  except OSError as error:
    raise config_lib.UserError(
      f'--out={out}: cannot be written ({error.strerror or error}); '
      'name a file in a folder that is there'
    ) from None


def lines(workdirs: Sequence[str]) -> list[str]:
  """Returns lines of text: the last scores of runs, and whether these can be compared.

  Raises:
    UserError: a file of a run is damaged, or some are pretrained and others fine-tuned.
  """
  by_kind: dict[bool, str] = {run_logs.is_fine_tuned(each): each for each in workdirs}
  if len(by_kind) > 1:
    raise config_lib.UserError(
      f'{by_kind[True]} is fine-tuned and {by_kind[False]} is not: their scores have nothing in '
      'common; report them apart'
    )
  return (task_scores if True in by_kind else run_logs).table(workdirs)


def _content(workdirs: Sequence[str | os.PathLike[str]], kind: str) -> bytes:
  if kind in picture.KINDS:
    return curve.render(workdirs, kind)
  for workdir in workdirs:
    if not pathlib.Path(workdir).is_dir():
      raise config_lib.UserError(f'no such folder: {workdir}')
  if kind == 'csv':
    return tidy.of_runs(workdirs).encode()
  if len(workdirs) > 1:
    raise config_lib.UserError(
      f'--out: a page is of one run, and {len(workdirs)} are given; '
      '.csv, .png, .svg and .pdf are of several'
    )
  page = task_page if run_logs.is_fine_tuned(workdirs[0]) else run_page
  return page.render(workdirs[0]).encode()
