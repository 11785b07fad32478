"""Checkpoints: Orbax writes and reads them, a sha256 manifest proves them whole.

Orbax alone loads a file with a flipped byte silently, so after each commit a
manifest of every file's hash is written into the step's folder. A step without
one is unverified: the process died between the two.
"""

from collections.abc import Callable
import concurrent.futures
import errno
import json
import logging
import math
import os
import pathlib
import re
import shutil
import sys
import threading
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.training import distributed

MANIFEST = 'sha256.json'
_LOOK, _LOOKS = 5.0, 4  # seconds between looks for the folder of a save; looks until it is given up
UNVERIFIED = f'was never verified: it has no {MANIFEST}'


def _say_once() -> None:
  """Leaves the word about a save that fails to `Checkpoints`, which says it in one line."""
  # Orbax logs the error from each of its threads, with a traceback.
  logging.getLogger('absl').addFilter(
    lambda record: record.levelno < logging.ERROR or 'orbax' not in record.pathname
  )
  # TensorStore ends its writes later than the event loop that Orbax has closed upon the error, in
  # threads that no Python has called: what they raise goes to one of two hooks.
  excepthook, unraisablehook = sys.excepthook, sys.unraisablehook

  def on_exception(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if not _is_of_closed_loop(error, trace):
      excepthook(kind, error, trace)

  def on_unraisable(raised: Any) -> None:
    if not _is_of_closed_loop(raised.exc_value, raised.exc_traceback):
      unraisablehook(raised)

  sys.excepthook, sys.unraisablehook = on_exception, on_unraisable


def _is_of_closed_loop(error: BaseException | None, trace: Any) -> bool:
  """Whether asyncio raised this in a thread without a caller, since its event loop is closed."""
  outermost = trace.tb_frame.f_code.co_filename if trace else ''
  return str(error) == 'Event loop is closed' and 'asyncio' in outermost


_say_once()

PyTree = Any
Parts = dict[str, PyTree]


class Checkpoints:
  """The checkpoints of one run: `folder/<step>/`.

  Args:
    folder: made when missing.
    config: the group `checkpoint`.
    log: called with one line of text when something is worth saying.
    largest_is_best: whether the best checkpoint is that of the largest score.
  """

  def __init__(
    self,
    folder: str | pathlib.Path,
    config: Any,
    log: Callable[[str], None] = print,
    largest_is_best: bool = False,
  ):
    # Orbax refuses a path that is not absolute.
    self._folder = pathlib.Path(folder).absolute()
    self._config, self._log = config, log
    self._largest_is_best = largest_is_best
    self._pending: concurrent.futures.Future | None = None

  def save(
    self, step: int, parts: Parts, score: float | None = None, logs: dict | None = None
  ) -> None:
    """Starts to save; waits for the save before it.

    Args:
      step: names the folder.
      parts: {name: pytree of arrays}; each can be read alone. Copied before
        this returns, so the caller may donate them.
      score: of the evaluation at this step where there is one; ranks the best.
      logs: of what JSON can hold: what was logged until then. `restore_newest` gives it back.
    """
    # One at a time: each holds a copy of the whole state in the host's memory.
    self.wait()
    path = self._folder / str(step)
    self._saving = step
    try:
      self._folder.mkdir(exist_ok=True)  # a run's folder that is gone is not made again
      response = ocp.save_checkpointables_async(str(path), parts)
    except Exception as error:  # Orbax wraps what the file system says in many types.
      raise self._failed(step, error) from error
    # Hashing a large checkpoint takes long; training continues beside it.
    self._pending = _in_thread(lambda: self._finish(response, path, score, logs or {}))

  def wait(self) -> None:
    """Returns when the last save is whole on disk; raises Fatal if it failed."""
    # Forgotten before its result is asked for, so that a failure is raised once only.
    pending, self._pending = self._pending, None
    if pending is None:
      return
    gone = 0  # looks in a row at which the folder was not there
    while not pending.done() and gone < _LOOKS:
      concurrent.futures.wait([pending], _LOOK)
      gone = 0 if self._folder.is_dir() else gone + 1
    try:
      if not pending.done():
        # In a folder that was removed Orbax may wait for ever.
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._folder))
      pending.result()
    except Exception as error:
      raise self._failed(self._saving, error) from error

  def best(self) -> int | None:
    """Returns the best step by its score of those that are there; None where none has one."""
    scores = {step: _score(self._folder / str(step)) for step in steps(self._folder)}
    ranked = _ranked(scores, self._largest_is_best)
    return ranked[0] if ranked else None

  def _finish(
    self, response: Any, path: pathlib.Path, score: float | None, logs: dict[str, Any]
  ) -> None:
    response.result()  # until the step is committed, its files may still change
    if distributed.is_first():
      write_manifest(path, score, logs)
      self._prune()

  def _failed(self, step: int, error: Exception) -> Exception:
    """Returns what to raise: of several processes one that dies is noticed here too."""
    # A save ends at a barrier of all processes. Its error has no type of its own, hence words.
    if jax.process_count() > 1 and re.search(
      'barrier|gloo|nccl|coordination', str(error), re.IGNORECASE
    ):
      return distributed.PeerLost(config_lib.one_line(error))
    return config_lib.Fatal(
      f'could not save step {step}: {why_not_written(error, self._folder, self._folder)}'
    )

  def _prune(self) -> None:
    scores = {step: _score(self._folder / str(step)) for step in steps(self._folder)}
    for step in set(scores) - kept(scores, self._config, self._largest_is_best):
      # Renamed first: a process that dies in the middle leaves no half step behind.
      shutil.rmtree((self._folder / str(step)).rename(self._folder / f'{step}.removing'))

  def restore_newest(
    self, abstract_parts: Parts, lacking: Callable[[dict], str] = lambda logs: ''
  ) -> tuple[int, Parts] | tuple[None, None]:
    """Returns (step, parts) of the newest step that is whole, or (None, None) if there is no step.

    A step is whole when its files are as they were written, and lacking(what was logged until
    then, see `save`) finds nothing wrong: a run that resumed would have a gap in its logs.

    Newer steps, which are not whole, are set aside as `<step>.broken` and named in
    the log. An unverified step is used only where no verified one is intact. Of several
    processes the first one looks, and all load what it found.

    Raises:
      UserError: there are steps, but none can be restored; nothing is moved then.
    """
    faults: dict[int, str] = {}
    distributed.on_first(lambda: faults.update(self._look(lacking)))
    # All load the same step, even where a folder looks different from another machine.
    whole = next((step for step, fault in faults.items() if not fault), -1)
    whole = distributed.from_first(whole)
    if whole >= 0:
      # Moved only after it has loaded: a program that cannot read any of them moves nothing.
      parts = self._load(whole, abstract_parts)
      self._set_aside({step: fault for step, fault in faults.items() if fault and step > whole})
      return whole, parts
    return self._restore_unverified(faults, abstract_parts)

  def _look(self, lacking: Callable[[dict], str]) -> dict[int, str]:
    """Returns {step: what is wrong with it, or ''}, from the newest to the first that is whole."""
    # What a process left behind that died while it saved, or while it removed an old step.
    for pattern in ('*.orbax-checkpoint-tmp*', '*.removing'):
      for leftover in self._folder.glob(pattern):
        shutil.rmtree(leftover)
    faults = {}
    for step in reversed(steps(self._folder)):
      path = self._folder / str(step)
      faults[step] = verify(path) or lacking(logged(path))
      if not faults[step]:
        break
    return faults

  def _restore_unverified(
    self, faults: dict[int, str], abstract_parts: Parts
  ) -> tuple[int, Parts] | tuple[None, None]:
    """Returns (step, parts) as `restore_newest` does, where no step is verified and intact."""
    # Only the first process knows the faults. The others go through the same rounds, since each
    # of `from_first` and `_load` needs all of them.
    unverified = [step for step, fault in faults.items() if fault == UNVERIFIED]
    for _ in range(distributed.from_first(len(unverified))):
      step = distributed.from_first(unverified.pop(0) if unverified else -1)
      try:
        parts = self._load(step, abstract_parts)
      except config_lib.UserError as error:
        faults[step] = str(error)
        continue
      self._log(
        f'warning: step {step} in {self._folder} {UNVERIFIED}; '
        'used nevertheless, since no verified step is intact'
      )
      # From here on it counts as verified, so that a later start does not warn again.
      distributed.on_first(lambda: write_manifest(self._folder / str(step), None))
      self._set_aside({each: fault for each, fault in faults.items() if each > step})
      return step, parts
    if distributed.from_first(len(faults)):
      raise config_lib.UserError(
        f'no checkpoint in {self._folder} can be restored: '
        + '; '.join(f'step {step} {fault}' for step, fault in faults.items())
        + '; restore it from a copy, or move the folder away to start again'
      )
    return None, None

  def _load(self, step: int, abstract_parts: Parts) -> Parts:
    """Returns a step's parts; a whole step that does not load is not a broken one: UserError."""
    try:
      return ocp.load_checkpointables(str(self._folder / str(step)), abstract_parts)
    except Exception as error:  # Orbax raises many types.
      raise config_lib.UserError(
        f'checkpoint {self._folder / str(step)} does not load: {config_lib.one_line(error)}'
      ) from error

  def _set_aside(self, faults: dict[int, str]) -> None:
    for step, fault in faults.items() if distributed.is_first() else ():
      path = self._folder / str(step)
      aside = path.with_name(f'{step}.broken')
      if aside.exists():
        shutil.rmtree(aside)
      path.rename(aside)
      self._log(f'warning: checkpoint {path} {fault}; moved to {aside.name}')


def _in_thread(work: Callable[[], None]) -> concurrent.futures.Future:
  """Returns the Future of work in a thread that no process waits for when it ends."""
  future = concurrent.futures.Future()

  def run() -> None:
    try:
      future.set_result(work())
    except BaseException as error:
      future.set_exception(error)

  threading.Thread(target=run, daemon=True).start()
  return future


def read_model(
  folder: str | pathlib.Path, step: int | None = None, log: Callable[[str], None] = print
) -> tuple[int, PyTree, PyTree]:
  """Returns (step, params, aux) of a checkpoint for reading only: nothing is moved or repaired.

  Args:
    folder: of the checkpoints.
    step: which; None for the newest that is whole.
    log: is told of the steps that were passed over.

  Raises:
    UserError: no such step, or none that is whole.
  """
  folder = pathlib.Path(folder).absolute()
  present = steps(folder)
  if step is not None and step not in present:
    raise config_lib.UserError(f'no checkpoint of step {step} in {folder}; there are {present}')
  faults = []
  for each in [step] if step is not None else reversed(present):
    path = folder / str(each)
    fault = verify(path)
    if not fault:
      if faults:
        log(f'warning: using step {each} of {folder}: ' + '; '.join(faults))
      return each, *_read_model(path)
    faults.append(f'step {each} {fault}')
  raise config_lib.UserError(
    f'no intact checkpoint in {folder}: ' + ('; '.join(faults) or 'none at all')
  )


def _read_model(path: pathlib.Path) -> tuple[PyTree, PyTree]:
  """Returns a step's (params, aux) on the first device, whatever mesh they were saved on."""
  place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  # Shapes come from the checkpoint itself, so that no model need be made to read one. The
  # optimizer's state, twice the size of the parameters, is not read.
  saved: Any = ocp.checkpointables_metadata(str(path)).metadata
  parts = {name: saved[name] for name in ('params', 'aux') if name in saved}
  abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), parts)
  loaded = ocp.load_checkpointables(str(path), abstract)
  return loaded['params'], loaded.get('aux', {})


def steps(folder: str | pathlib.Path) -> list[int]:
  """Returns the committed steps in a folder, ascending."""
  folder = pathlib.Path(folder)
  # Until it is committed, and once it is broken or being removed, a step has a longer name.
  return sorted(int(each.name) for each in folder.glob('*') if each.name.isdigit())


def why_not_written(error: BaseException, place: pathlib.Path, folder: pathlib.Path) -> str:
  """Returns in a line why a place could not be written, and from which step the run can go on.

  Args:
    error: what was raised.
    place: a file or folder of a run.
    folder: of the run's checkpoints.
  """
  fault = files.fault(error, place)
  if not folder.is_dir():
    return fault
  found = [each for each in steps(folder) if (folder / str(each) / MANIFEST).exists()]
  if not found:
    return f'{fault}; there is no whole checkpoint yet'
  return f'{fault}; the last whole checkpoint is step {found[-1]}, where the same command goes on'


def _score(path: pathlib.Path) -> float | None:
  """Returns the score in a step's manifest; None where there is none or it cannot be read."""
  return _manifest(path).get('score')


def logged(path: pathlib.Path) -> dict[str, Any]:
  """Returns what was logged until a step, see `Checkpoints.save`; {} where that is not known."""
  return _manifest(path).get('logs', {})


def _manifest(path: pathlib.Path) -> dict[str, Any]:
  """Returns what a step's manifest holds, {} where there is none or it is damaged."""
  try:
    found = config_lib.read_json(path / MANIFEST, finite=False)  # a score may be NaN
  except config_lib.UserError:
    return {}
  return found if _is_manifest(found) else {}


def _is_manifest(found: Any) -> bool:
  """Whether a value has the form of what `write_manifest` writes."""
  if not isinstance(found, dict) or type(found.get('score', None)) not in (float, int, type(None)):
    return False
  hashes, marks = found.get('files'), found.get('logs', {})
  if not isinstance(hashes, dict) or not isinstance(marks, dict):
    return False
  # Of each log its bytes, and their hash.
  is_mark = lambda each: isinstance(each, list) and [type(part) for part in each] == [int, str]
  return all(map(is_mark, marks.values()))


def kept(scores: dict[int, float | None], config: Any, largest_is_best: bool = False) -> set[int]:
  """Returns the set of steps that stay.

  Args:
    scores: {step: score of its evaluation, or None}.
    config: the group `checkpoint`.
    largest_is_best: whether the best step is that of the largest score.
  """
  keep = set(sorted(scores)[-config.keep_latest :])
  keep |= set(_ranked(scores, largest_is_best)[: config.keep_best])
  if config.log_spaced:
    keep |= {step for step in scores if is_log_spaced(step)}
  return keep


def _ranked(scores: dict[int, float | None], largest_is_best: bool) -> list[int]:
  """Returns the steps that have a score, the best first; of equal ones the earlier."""
  sign = -1 if largest_is_best else 1
  ranked = sorted(
    (sign * score, step)
    for step, score in scores.items()
    if score is not None and math.isfinite(score)
  )
  return [step for _, step in ranked]


def is_log_spaced(step: int) -> bool:
  """Returns whether step is 0, 1, 2, 4, 8, ..."""
  # A power of two has a single bit, which step - 1 lacks.
  return step & (step - 1) == 0 if step else True


def write_manifest(
  path: pathlib.Path, score: float | None, logs: dict[str, Any] | None = None
) -> None:
  """Writes the hash of every file below path, atomically and last."""
  recorded = {'score': score, 'logs': logs or {}, 'files': files.hashes(path, MANIFEST)}
  files.write(path / MANIFEST, json.dumps(recorded, indent=1))


def verify(path: pathlib.Path) -> str:
  """Returns what is wrong with a step, or '' when every byte is as written."""
  if not os.path.lexists(path / MANIFEST):
    return UNVERIFIED
  if not (found := _manifest(path)):
    return f'has a damaged {MANIFEST}'
  return files.difference(found['files'], files.hashes(path, MANIFEST))
