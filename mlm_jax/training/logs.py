"""The logs of a run: metrics.jsonl and its siblings."""

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
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.core import files

LOGS = ('metrics.jsonl', 'evaluations.jsonl', 'timing.jsonl', 'spikes.jsonl')


class Logs:
  """The run's metrics.jsonl, evaluations.jsonl, spikes.jsonl and timing.jsonl.

  All but timing.jsonl hold deterministic fields only, so that two equal runs have
  equal files; wall-clock figures go there.
  """

  def __init__(self, workdir: pathlib.Path, step: int, writes: bool = True):
    """Opens the logs of a run that continues from `step`: what is later is cut off.

    Of several processes one `writes`; the others may read.
    """
    self._workdir = pathlib.Path(workdir)
    self._files, self._digests = {}, {}
    if not writes:
      return
    # What a run wrote behind its last checkpoint it writes again when it has resumed.
    for name in LOGS:
      _cut(self._workdir / name, step)
      self._digests[name] = _digest(self._workdir / name)
    self._files = {name: open(self._workdir / name, 'a', buffering=1) for name in LOGS}  # by line

  def write(self, name: str, step: int, values: dict[str, Any]) -> dict[str, Any]:
    """Appends {step, **values} to a log; returns the line."""
    line = {'step': step, **{key: _written(value) for key, value in values.items()}}
    if not self._files:
      return line
    text = json.dumps(line) + '\n'
    self._files[name + '.jsonl'].write(text)
    self._digests[name + '.jsonl'].add(text.encode())
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
    return {name: digest.mark() for name, digest in self._digests.items()}

  def __enter__(self) -> 'Logs':
    return self

  def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
    # What a full disk has refused it refuses again at the end; the first error says why.
    for file in self._files.values():
      with contextlib.suppress(OSError) if kind else contextlib.nullcontext():
        file.close()


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
  if path.is_file():
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


def check(workdir: str | os.PathLike) -> None:
  """Raises UserError where a line of a run's logs is damaged, so that it cannot go on; names it."""
  for name in LOGS:
    collections.deque(_lines(pathlib.Path(workdir) / name), maxlen=0)


def _written(value: Any) -> Any:
  """Returns a value as a log has it: seven digits, null for what is not a finite number."""
  # Seven digits are a float32's own; JSON has no NaN.
  if not isinstance(value, float):
    return value
  return float(f'{value:.7g}') if math.isfinite(value) else None


def read_log(workdir: str | os.PathLike, name: str) -> list[dict]:
  """Returns the lines of a log as a list of dicts; an unfinished last line is left out.

  Raises:
    UserError: another line is damaged, or the log cannot be read.
  """
  path = pathlib.Path(workdir) / (name + '.jsonl')
  return [line for _, line in _lines(path)]


def _lines(path: pathlib.Path) -> Iterator[tuple[str, dict]]:
  """Yields (text, content) of each line; a crash may have left the last one unfinished."""
  content = config_lib.read_bytes(path) if os.path.lexists(path) else b''
  texts = content.decode(errors='replace').splitlines(keepends=True)
  for number, text in enumerate(texts, 1):
    if number == len(texts) and not text.endswith('\n'):
      return
    try:
      content = config_lib.parse_json(text)
      if type(content['step']) is not int:  # it could not be cut off by `_cut`
        raise ValueError(f'its step is {content["step"]!r}')
    except (ValueError, TypeError, KeyError) as error:
      raise config_lib.UserError(
        f'{path} line {number} is damaged ({config_lib.one_line(error)}); remove that line'
      ) from None
    yield text, content


def _cut(path: pathlib.Path, step: int) -> None:
  """Drops the lines of steps after `step`, and what a crash left unfinished."""
  if os.path.lexists(path):
    files.write(path, ''.join(text for text, line in _lines(path) if line['step'] <= step))
