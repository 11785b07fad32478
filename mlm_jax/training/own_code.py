"""The code of a researcher's own that a run was trained with: kept in its folder, compared later.

code/MODULE.HASH.py   the whole file of each module that the config names, at each start with
                      another content; the hash is the first 8 digits of its sha256

environment.json has the sha256 of each module at each start. Nothing here executes any of it.
"""

import hashlib
import os
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.training import workdir as workdir_lib

FOLDER = 'code'


def keep(workdir: pathlib.Path, config: Any) -> dict[str, str]:
  """Writes the modules that a config names into a run's folder; returns {module: sha256}."""
  hashes = {}
  for module in _modules(config):
    path = config_lib.source(module)
    content = path.read_bytes() if path else b''  # such as a class that was typed into a shell
    hashes[module] = hashlib.sha256(content).hexdigest()
    kept = _kept(workdir, module, hashes[module])
    if path and not kept.exists():
      kept.parent.mkdir(exist_ok=True)
      files.write(kept, content)
  return hashes


def differing(workdir: str | os.PathLike[str], config: Any) -> list[str]:
  """Returns a line for each module that is found here and is not as the run was trained with."""
  lines = []
  starts = workdir_lib.read_environment(workdir)
  recorded = starts[-1].get('code', {}) if starts else {}
  for module in _modules(config):
    path = config_lib.source(module)
    if path and module in recorded and files.sha256(path) != recorded[module]:
      kept = _kept(workdir, module, recorded[module])
      lines.append(f'{path} is not the code that {workdir} was trained with, which is in {kept}')
  return lines


def check(workdir: str | os.PathLike[str], config: Any, changed_code: bool) -> None:
  """Raises UserError where a run would go on with other code, unless `changed_code` says so."""
  if not changed_code and (lines := differing(workdir, config)):
    raise config_lib.UserError(
      f'{lines[0]}; restore it, or go on with the new code by --changed-code (from Python: '
      'changed_code=True)'
    )


def _modules(config: Any) -> list[str]:
  """Returns the names of the modules that a config names, each once."""
  specs = config_lib.own_code(config).values()
  return list(dict.fromkeys(spec.partition(':')[0] for spec in specs))


def _kept(workdir: str | os.PathLike[str], module: str, sha256: str) -> pathlib.Path:
  return pathlib.Path(workdir) / FOLDER / f'{module}.{str(sha256)[:8]}.py'
