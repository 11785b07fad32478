"""The records of a file through a fine-tuned run, into another file."""

from collections.abc import Callable
from collections.abc import Iterator
import csv
import itertools
import json
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax.inference import opening
from mlm_jax.inference import outputs
from mlm_jax.inference import task_run

_TOGETHER = 4096  # records of which the output is written together


def run(
  workdir: str,
  source: str,
  output: str,
  text: str | None = None,
  second_text: str | None = None,
  step: int | None = None,
) -> int:
  """Writes what a run predicts for each record of a file; returns how many there were.

  Args:
    workdir: the run's folder.
    source, output: the files.
    text, second_text: columns, in place of those that the run was trained on.
    step: of the checkpoint; None for the run's model.

  Raises:
    UserError: a run that predicts nothing, a file that cannot be read or written, or a record
      without its texts; the output is left as it was.
  """
  writer = _WRITERS[outputs.check_kind(output, tuple(_WRITERS))]
  opened = opening.open_run(workdir, step)
  if not isinstance(opened, task_run.TaskRun):
    raise config_lib.UserError(
      f'{workdir} was pretrained and predicts no labels; fine-tune it first: mlm-jax finetune '
      f'--from={workdir}'
    )
  config = opened.config.copy_and_resolve_references()
  task = config.task
  with config.unlocked():
    task.text, task.second_text = text or task.text, second_text or task.second_text
  config_lib.check(config)  # not every task has columns of texts
  examples = downstream.load(task.name).stream(source, task)
  with outputs.whole(output) as partial:
    return writer(partial, opened.predictions(examples))


def _write_jsonl(path: pathlib.Path, lines: Iterator[dict[str, Any]]) -> int:
  number = 0
  with path.open('w', encoding='utf-8') as file:
    for line in lines:
      file.write(json.dumps(line, ensure_ascii=False) + '\n')
      number += 1
  return number


def _write_csv(path: pathlib.Path, lines: Iterator[dict[str, Any]]) -> int:
  number = 0
  with path.open('w', encoding='utf-8', newline='') as file:
    writer = csv.writer(file, lineterminator='\n')
    for line in map(_flat, lines):
      if not number:
        writer.writerow(line)
      writer.writerow(line.values())
      number += 1
  return number


def _write_parquet(path: pathlib.Path, lines: Iterator[dict[str, Any]]) -> int:
  import pyarrow
  from pyarrow import parquet

  number, writer, left = 0, None, map(_flat, lines)
  try:
    while part := list(itertools.islice(left, _TOGETHER)):
      table = pyarrow.Table.from_pylist(part)
      writer = writer or parquet.ParquetWriter(path, table.schema)
      writer.write_table(table)
      number += len(part)
  finally:
    if writer:
      writer.close()
  return number


def _write_conll(path: pathlib.Path, lines: Iterator[dict[str, Any]]) -> int:
  number = 0
  with path.open('w', encoding='utf-8') as file:
    for line in lines:
      if 'tokens' not in line:
        raise config_lib.UserError('a file .conll is of tags of words, which this run predicts not')
      for token, tag in zip(line['tokens'], line['prediction']):
        file.write(f'{" ".join(token.split())}\t{tag or "_"}\n')
      file.write('\n')
      number += 1
  return number


def _flat(line: dict[str, Any]) -> dict[str, Any]:
  """Returns a prediction as the fields of a table: probabilities have a column each.

  Labels are joined by commas; other lists are JSON.
  """
  found = {}
  for name, value in line.items():
    if isinstance(value, dict):
      found |= {f'{name}.{key}': each for key, each in value.items()}
    elif isinstance(value, list):
      is_labels = name in ('label', 'tags', 'prediction')
      found[name] = (
        ','.join(each or '' for each in value)
        if is_labels
        else json.dumps(value, ensure_ascii=False)
      )
    else:
      found[name] = value
  return found


_WRITERS: dict[str, Callable[[pathlib.Path, Iterator[dict[str, Any]]], int]] = {
  '.jsonl': _write_jsonl,
  '.csv': _write_csv,
  '.parquet': _write_parquet,
  '.conll': _write_conll,
}
