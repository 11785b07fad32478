"""What is compiled is kept in the user's cache directory, so that the next start need not compile.

JAX writes and reads the programs, and drops those that were used longest ago. A program that was
kept is the one that would be compiled again, so no number depends on whether it was found.
"""

from collections.abc import Callable
import hashlib
import os
import pathlib
import platform
import re
import sys

import filelock
import jax

_MOST_BYTES = 1 << 30
_LEAST_SECONDS = 0.1  # of compilation; to write and to read a program back takes some 20 ms


def use(setting: str, log: Callable[[str], None] = print) -> None:
  """Keeps what this process compiles from here on, and reads what was kept.

  Where JAX has a cache already, as by JAX_COMPILATION_CACHE_DIR, that one stays in use.

  Args:
    setting: config.compilation_cache, '' for nothing.
    log: is told in a line where the folder cannot be used; the process goes on without it.
  """
  # JAX adds its options when it is imported, which a type checker does not see.
  if not setting or jax.config.jax_compilation_cache_dir:  # pyrefly: ignore[missing-attribute]
    return
  place = folder()
  try:
    # For the user alone: whoever writes there decides what is executed here.
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    # JAX locks with this file too; a file system may have no locks.
    with filelock.FileLock(place / '.lockfile', timeout=10):
      _remove_halves(place)
  except (OSError, NotImplementedError) as error:  # filelock.Timeout is an OSError
    log(
      f'warning: compiled programs are not kept: {place} cannot be written '
      f'({getattr(error, "strerror", None) or error}); config.compilation_cache= says so for good'
    )
    return
  jax.config.update('jax_compilation_cache_dir', str(place))
  jax.config.update('jax_compilation_cache_max_size', _MOST_BYTES)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', _LEAST_SECONDS)


def folder() -> pathlib.Path:
  """Returns where the programs for this kind of processor are kept."""
  home = pathlib.Path.home()
  default = home / 'Library' / 'Caches' if sys.platform == 'darwin' else home / '.cache'
  # As XDG says, a path that is not absolute is ignored.
  given = pathlib.Path(os.environ.get('XDG_CACHE_HOME', ''))
  return (given if given.is_absolute() else default) / 'mlm_jax' / 'compiled' / _processor()


def _processor() -> str:
  """Returns a name that processors with other instructions do not share."""
  # JAX does not ask: a program from another machine with the same home could be one of instructions
  # that this one lacks.
  try:
    text = pathlib.Path('/proc/cpuinfo').read_text()
  except OSError:
    text = ''
  found = re.search(r'^(flags|Features)\s*:(.*)$', text, re.MULTILINE)
  features = ' '.join(sorted(found[2].split())) if found else platform.processor()
  return f'{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}'


def _remove_halves(place: pathlib.Path) -> None:
  """Removes what a process left that was killed while it wrote; the lock is held."""
  # The time of its last use is written behind a program; JAX fails at each write where one lacks.
  for program in place.glob('*-cache'):
    if not program.with_name(program.name.removesuffix('-cache') + '-atime').exists():
      program.unlink(missing_ok=True)
