"""Numbers from the logs of runs, and a table of where the runs ended."""

from collections.abc import Sequence
import math
import os
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.training import logs
from mlm_jax.training import own_code
from mlm_jax.training import workdir as workdir_lib

_HEADER = f'{"run":<30} {"data":<8} {"step":>8} {"reference loss":>15} {"accuracy":>9}'


def values(
  workdir: str | os.PathLike[str], log: str, *fields: str
) -> list[tuple[int | float, ...]]:
  """Returns (step, a number for each field) for each line of a log that has all of them.

  NaN is a number that was not finite.

  Raises:
    UserError: a line has something else than a number there.
  """
  # A line may lack a field, such as the scores of a policy; that is not an error.
  fields = ('step', *fields)
  lines = [line for line in logs.read_log(workdir, log) if all(field in line for field in fields)]
  for line in lines:
    for field in fields:
      if line[field] is None:  # JSON has no NaN: logs have null for it
        line[field] = math.nan
      if type(line[field]) not in (int, float):
        raise config_lib.UserError(
          f'{workdir}/{log}.jsonl: {field} is {line[field]!r} in the line of step '
          f'{line["step"]!r}, not a number; remove that line'
        )
  return [tuple(line[field] for field in fields) for line in lines]


def data_fingerprint(workdir: str | os.PathLike[str]) -> str:
  """Returns the first 8 digits of the fingerprint of a run's data, '-' where it is unknown."""
  # A run resumes only on the same data, so the first start says it for all.
  starts = workdir_lib.read_environment(workdir)
  return str(starts[0].get('data_fingerprint', '-'))[:8] if starts else '-'


def fingerprints(place: str | os.PathLike[str], config: Any) -> dict[str, Any]:
  """Returns what must be equal where losses are compared, of a run that has started."""
  config = config_lib.final_stage(config)
  data = config.data
  start = (workdir_lib.read_environment(place) or [{}])[0]
  # The held-out rows are those of the final stage, which has a fingerprint of its own where its
  # rows have another length.
  fingerprint = start.get(
    f'data_fingerprint_{data.row_length}x{data.max_segments}', start.get('data_fingerprint')
  )
  return {
    'objective': config.objective.name,
    'tokenizer': start.get('tokenizer'),
    'row length': data.row_length,
    'held-out rows': config.evaluation.rows,
    'data': fingerprint,
  }


def changed_code(workdir: str | os.PathLike[str]) -> list[str]:
  """Returns a line for each module of the user's own that is found here and was another then."""
  if not (pathlib.Path(workdir) / 'config.json').exists():
    return []
  return own_code.differing(workdir, workdir_lib.read_config(workdir))


def table(workdirs: Sequence[str]) -> list[str]:
  """Returns lines of text: the last scores of each run, and a warning if not comparable."""
  lines, different = [_HEADER], set()
  for workdir in workdirs:
    fingerprint = data_fingerprint(workdir)
    # Equal for all runs whose losses can be compared; a run of before its config has none.
    has_config = (pathlib.Path(workdir) / 'config.json').exists()
    told = fingerprints(workdir, workdir_lib.read_config(workdir)) if has_config else {}
    different.add((fingerprint, *told.values()))
    ended = values(workdir, 'evaluations', 'reference_loss', 'reference_accuracy')[-1:]
    line = f'{workdir:<30} {fingerprint:<8} '
    # Its last scores may still be those of a time when all was finite.
    if diverged := workdir_lib.diverged(workdir):
      lines.append(line + f'{diverged["step"]:>8} {"diverged":>15} {"-":>9}')
      continue
    lines += [line + f'{step:>8} {loss:>15.4f} {accuracy:>9.3f}' for step, loss, accuracy in ended]
    lines += [] if ended else [line + f'{"-":>8} {"-":>15} {"-":>9}']
  for workdir in workdirs:
    lines += [f'warning: {line}' for line in changed_code(workdir)]
  if len(different) > 1:
    lines.append(
      'The runs are not scored on the same held-out rows: losses on different texts, vocabularies, '
      'row lengths or numbers of rows, or of different objectives, are not comparable.'
    )
  return lines
