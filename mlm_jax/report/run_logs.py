"""Numbers from the logs of runs, and a table of where the runs ended."""

from collections.abc import Sequence
import math
import os
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.core import places
from mlm_jax.training import changes
from mlm_jax.training import checkpoint
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


def read_object(path: pathlib.Path) -> dict[str, Any]:
  """Returns the dict in a JSON file; UserError where there is none."""
  content = config_lib.read_json(path)
  if not isinstance(content, dict):
    raise config_lib.UserError(f'{path} is damaged: it must hold an object')
  return content


def slices(workdir: str | os.PathLike[str]) -> dict[str, Any]:
  """Returns what slices.json holds, {} where a run has none; UserError where it is damaged."""
  path = pathlib.Path(workdir) / 'slices.json'
  if not os.path.lexists(path):
    return {}
  slices = read_object(path)
  try:
    rows = [row for rows in slices.get('slices', {}).values() for row in rows]
    numbers = [slices.get('reference', {}).get('bits_per_character')]
    numbers += [row[metric] for row in rows for metric in ('loss', 'accuracy')]
    is_whole = all(isinstance(row['slice'], str) for row in rows)
  except (AttributeError, KeyError, TypeError):
    numbers, is_whole = [], False
  if not is_whole or not all(type(each) in (int, float, type(None)) for each in numbers):
    raise config_lib.UserError(
      f'{path} is damaged: it must hold names and numbers; remove it, and the report leaves it out'
    )
  return slices


def name(workdir: str | os.PathLike[str]) -> str:
  """Returns what a run is called: the name of its folder, without those that it lies in."""
  return pathlib.Path(workdir).resolve().name


def lacking(workdir: str | os.PathLike[str]) -> list[str]:
  """Returns a sentence for each thing that a run has not, or not yet; [] for a whole one.

  Raises:
    UserError: there is no run, or a file of it is damaged.
  """
  config = workdir_lib.read_config(workdir)
  said = untrained(workdir, config)
  if not values(workdir, 'evaluations', 'reference_loss'):
    said.append(
      'It has no held-out losses: it has not been evaluated yet '
      f'(config.evaluation.every is {config.evaluation.every}).'
    )
  said += unsaved(workdir, config)
  if not slices(workdir):
    said.append('It has no scores by kinds of tokens: slices.json is written at the end of a run.')
  return said


def untrained(workdir: str | os.PathLike[str], config: Any) -> list[str]:
  """Returns sentences on what a run lacks of its training, whatever it trains."""
  folder = places.without_folders(workdir)
  if diverged := workdir_lib.diverged(workdir):
    said = [f'The run has diverged at {places.prose_without_folders(diverged["reason"])}.']
  elif workdir_lib.finished(workdir) is None:
    step = max((line['step'] for line in logs.read_log(workdir, 'metrics')), default=0)
    said = [
      f'The run is not finished: {step:,} of {config.total_steps:,} steps are logged; '
      f'mlm-jax train --workdir={folder} goes on with it.'
    ]
  else:
    said = []
  if not logs.read_log(workdir, 'metrics'):
    said.append(f'Nothing of the training is logged yet: config.log.every is {config.log.every}.')
  return said


def unsaved(workdir: str | os.PathLike[str], config: Any) -> list[str]:
  """Returns a sentence where a run has no checkpoint, [] where it has."""
  if checkpoint.steps(pathlib.Path(workdir) / 'checkpoints'):
    return []
  return [f'It has no checkpoint yet (config.checkpoint.every is {config.checkpoint.every}).']


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
  if 'task' in config:
    # Of the examples alone: what predicts their labels may have any tokenizer and rows.
    return {
      'task': config.task.name,
      'validation examples': start.get('validation_examples'),
      'test examples': start.get('test_examples'),
    }
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


def is_fine_tuned(workdir: str | os.PathLike[str]) -> bool:
  """Whether a run is of fine-tuning; False where there is no run."""
  has_config = (pathlib.Path(workdir) / 'config.json').exists()
  return has_config and 'task' in workdir_lib.read_config(workdir)


def changed_code(workdir: str | os.PathLike[str]) -> list[str]:
  """Returns a line for each module of the user's own that is found here and was another then."""
  if not (pathlib.Path(workdir) / 'config.json').exists():
    return []
  return own_code.differing(workdir, workdir_lib.read_config(workdir))


def table(workdirs: Sequence[str]) -> list[str]:
  """Returns lines of text: the last scores of each pretrained run, and a warning where they are not
  comparable."""
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
    lines += [f'{workdir}: {changes.in_words(each)}' for each in changes.read(workdir)]
    lines += [f'warning: {line}' for line in changed_code(workdir)]
  if len(different) > 1:
    lines.append(
      'The runs are not scored on the same held-out rows: losses on different texts, vocabularies, '
      'row lengths or numbers of rows, or of different objectives, are not comparable.'
    )
  return lines
