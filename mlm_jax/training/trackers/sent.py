"""What a service has been given of a run: kept in its folder, so that nothing is sent twice.

trackers/NAME.json   the run's id there, and the last step of each log that was sent

A run that was killed goes on from its newest checkpoint and writes later lines again. A service
that cannot overwrite them keeps those that it has: where the settings are the same, so are they.
"""

import json
import os
import pathlib
import secrets

from mlm_jax import config as config_lib


class Sent:
  """What one service has of one run.

  Args:
    workdir: the run's folder.
    name: of the tracker.

  Attributes:
    id: of the run there, chosen at its first start.

  Raises:
    UserError: the file is damaged.
  """

  def __init__(self, workdir: pathlib.Path, name: str):
    self._path = workdir / 'trackers' / f'{name}.json'
    self._path.parent.mkdir(exist_ok=True)
    try:
      kept = json.loads(self._path.read_bytes()) if self._path.exists() else {}
      self.id: str = str(kept.get('id') or secrets.token_hex(8))
      self._steps = {log: int(step) for log, step in kept.get('steps', {}).items()}
    except (ValueError, TypeError, AttributeError):
      raise config_lib.UserError(
        f'{self._path} is damaged; without it the run begins anew there'
      ) from None
    self._write()

  def has(self, log: str, step: int) -> bool:
    """Whether a line has been sent."""
    return step <= self._steps.get(log, -1)

  def add(self, log: str, step: int) -> None:
    """Notes that a line is sent."""
    self._steps[log] = step
    self._write()

  def _write(self) -> None:
    # Not files.write, which waits for the disk: after a power cut a line may be sent twice.
    beside = self._path.with_suffix('.part')
    beside.write_text(json.dumps({'id': self.id, 'steps': self._steps}) + '\n')
    os.replace(beside, self._path)
