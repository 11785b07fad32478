"""The logs of a run: metrics.jsonl and its siblings, and TensorBoard events."""

import collections
from collections.abc import Iterator
import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
import sys
import time
from typing import Any

from tensorboardX import event_file_writer
from tensorboardX import summary
from tensorboardX.proto import event_pb2

from mlm_jax import config as config_lib
from mlm_jax.core import files

_EVENTS: Any = event_pb2  # its classes are made when it is imported
LOGS = ('metrics.jsonl', 'evaluations.jsonl', 'timing.jsonl', 'spikes.jsonl')


class Logs:
  """The run's metrics.jsonl, evaluations.jsonl, spikes.jsonl, timing.jsonl and TensorBoard events.

  All but timing.jsonl hold deterministic fields only, so that two equal runs have
  equal files; wall-clock figures go there.
  """

  def __init__(self, workdir: pathlib.Path, step: int, tensorboard: bool, writes: bool = True):
    """Opens the logs of a run that continues from `step`: what is later is cut off.

    Of several processes one `writes`; the others may read.
    """
    self._workdir = pathlib.Path(workdir)
    self._files, self._digests, self._board = {}, {}, None
    if not writes:
      return
    # What a run wrote behind its last checkpoint it writes again when it has resumed.
    for name in LOGS:
      _cut(self._workdir / name, step)
      self._digests[name] = _digest(self._workdir / name)
    self._files = {name: open(self._workdir / name, 'a', buffering=1) for name in LOGS}  # by line
    self._board = _Board(self._workdir / 'tensorboard', step) if tensorboard else None

  def write(self, name: str, step: int, values: dict[str, Any]) -> dict[str, Any]:
    """Appends {step, **values} to a log and, but for lists, to TensorBoard; returns the line."""
    line = {'step': step, **{key: _written(value) for key, value in values.items()}}
    if not self._files:
      return line
    text = json.dumps(line) + '\n'
    self._files[name + '.jsonl'].write(text)
    self._digests[name + '.jsonl'].add(text.encode())
    if self._board:
      for key, value in values.items():
        # Finite numbers alone: TensorBoard takes no lists, and a NaN is null in the JSON too.
        if not isinstance(value, list) and math.isfinite(value):
          self._board.add(f'{name}/{key}', value, step)
    return line

  def read(self, name: str) -> list[dict]:
    """Returns the lines of a log so far."""
    return read_log(self._workdir, name)

  def flush(self) -> dict[str, list]:
    """Returns when everything written is on disk, with {log: [its bytes, their sha256]}."""
    for name, file in self._files.items():
      file.flush()
      os.fsync(file.fileno())
      # One that was removed, or whose folder was moved, could be written to without an error.
      if not os.path.samestat(os.fstat(file.fileno()), os.stat(self._workdir / name)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._workdir / name)
    if self._board:
      self._board.flush()
    return {name: digest.mark() for name, digest in self._digests.items()}

  def __enter__(self) -> 'Logs':
    return self

  def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
    # What a full disk has refused it refuses again at the end; the first error says why.
    for file in (*self._files.values(), *filter(None, [self._board])):
      with contextlib.suppress(OSError) if kind else contextlib.nullcontext():
        file.close()


class _Board:
  """TensorBoard events of a run that continues from `step`.

  Not through SummaryWriter, which writes in a thread: where the disk is full that one dies with a
  traceback, and the run waits for it for ever.
  """

  def __init__(self, folder: pathlib.Path, step: int):
    folder.mkdir(exist_ok=True)
    self._writer = event_file_writer.EventsWriter(str(folder / 'events'))
    # TensorBoard forgets what an earlier start wrote from here on.
    again = _EVENTS.SessionLog(status=_EVENTS.SessionLog.START)
    self._write(step + 1, session_log=again)

  def add(self, name: str, value: float, step: int) -> None:
    self._write(step, summary=summary.scalar(name, value))

  def _write(self, step: int, **what: Any) -> None:
    self._writer.write_event(_EVENTS.Event(step=step, wall_time=time.time(), **what))

  def flush(self) -> None:
    self._writer.flush()

  def close(self) -> None:
    self._writer.close()


class _Digest:
  """The size and the hash of a file that grows."""

  def __init__(self):
    self._bytes, self._hash = 0, hashlib.sha256()

  def add(self, content: bytes) -> None:
    self._bytes += len(content)
    self._hash.update(content)

  def mark(self) -> list:
    return [self._bytes, self._hash.hexdigest()]


def _digest(path: pathlib.Path, most: int = sys.maxsize) -> _Digest:
  """Returns the _Digest of a file's first `most` bytes; of one that is missing, of none."""
  digest = _Digest()
  if path.exists():
    with open(path, 'rb') as file:
      while content := file.read(min(most, 1 << 20)):
        digest.add(content)
        most -= len(content)
  return digest


def lacking(workdir: str | os.PathLike, marks: dict[str, list]) -> str:
  """Returns what is wrong with the logs of a run below a step, '' where they are as they were.

  Args:
    workdir: the run's folder.
    marks: what `flush` returned at that step; {} where that is not known.

  Raises:
    UserError: a line is damaged; names it.
  """
  for name, mark in marks.items():
    path = pathlib.Path(workdir) / name
    found = _digest(path, mark[0]).mark()
    if found != mark:
      collections.deque(_lines(path), maxlen=0)  # it names a line that is damaged
    if found[0] < mark[0]:
      return f'has a {name} that was cut: {found[0]:,} bytes of the {mark[0]:,} written until then'
    if found != mark:
      return f'has a {name} that was altered: it lacks lines that were written until then'
  return ''


def _written(value: Any) -> Any:
  """Returns a value as a log has it: seven digits, null for what is not a finite number."""
  # Seven digits are a float32's own; JSON has no NaN.
  if not isinstance(value, float):
    return value
  return float(f'{value:.7g}') if math.isfinite(value) else None


def read_log(workdir: str | os.PathLike, name: str) -> list[dict]:
  """Returns the lines of a log as a list of dicts; an unfinished last line is left out.

  Raises:
    UserError: another line is damaged.
  """
  path = pathlib.Path(workdir) / (name + '.jsonl')
  return [line for _, line in _lines(path)]


def _lines(path: pathlib.Path) -> Iterator[tuple[str, dict]]:
  """Yields (text, content) of each line; a crash may have left the last one unfinished."""
  texts = path.read_text(errors='replace').splitlines(keepends=True) if path.exists() else []
  for number, text in enumerate(texts, 1):
    if number == len(texts) and not text.endswith('\n'):
      return
    try:
      content = json.loads(text)
      content['step']  # a line without it could not be cut off by `_cut`
    except (ValueError, TypeError, KeyError) as error:
      raise config_lib.UserError(
        f'{path} line {number} is damaged ({config_lib.one_line(error)}); remove that line'
      ) from None
    yield text, content


def _cut(path: pathlib.Path, step: int) -> None:
  """Drops the lines of steps after `step`, and what a crash left unfinished."""
  if path.exists():
    files.write(path, ''.join(text for text, line in _lines(path) if line['step'] <= step))
