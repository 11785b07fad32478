"""Writing prepared data: arrays row by row, and a folder that is there as a whole or not at all."""

import contextlib
import dataclasses
import fcntl
import io
import os
import pathlib
import shutil

import numpy as np

from mlm_jax import config


class ArrayWriter:
  """Writes a .npy file of rows whose number is not known before the end."""

  def __init__(self, path, columns, dtype):
    path.parent.mkdir(parents=True, exist_ok=True)
    self._file = open(path, 'wb')
    self._columns, self._dtype = columns, np.dtype(dtype).newbyteorder('<')
    self.rows = 0
    self._header()

  def _header(self):
    """The header keeps its length: numpy leaves room for a growing first axis."""
    np.lib.format.write_array_header_1_0(
      self._file,
      {'descr': self._dtype.str, 'fortran_order': False, 'shape': (self.rows, self._columns)},
    )

  def write(self, rows):
    self._file.write(np.ascontiguousarray(rows, self._dtype))
    self.rows += len(rows)

  def close(self):
    self._file.seek(0)
    self._header()
    self._file.flush()
    os.fsync(self._file.fileno())
    self._file.close()


def write_fields(path, holder):
  """Writes a dataclass of arrays as an .npz file: the same bytes for the same arrays, since no time
  is in it.
  """
  with open(path, 'wb') as file:
    np.savez(file, **vars(holder))
    file.flush()
    os.fsync(file.fileno())


def read_fields(kind, data):
  """Returns the dataclass `kind` from the bytes of such a file; KeyError where it lacks an
  array.
  """
  with np.load(io.BytesIO(data)) as arrays:
    return kind(**{field.name: arrays[field.name] for field in dataclasses.fields(kind)})


@contextlib.contextmanager
def building(directory):
  """Gives a folder beside `directory` that takes its place when the block succeeds.

  What a killed preparation left there is removed, as is what a failing one leaves,
  folders made on the way included.

  Raises:
    UserError: the place is taken or cannot be written, or another process builds there.
  """
  place = pathlib.Path(os.path.abspath(directory))
  with contextlib.ExitStack() as stack:
    try:
      if place.exists() and not _is_free(place):
        raise config.UserError(
          f'{directory} exists and holds no prepared data; give another folder, or remove it'
        )
      folder = place.with_name(place.name + '.building')
      stack.callback(_remove_empty, [each for each in folder.parents if not each.exists()])
      folder.mkdir(parents=True, exist_ok=True)
      lock = stack.enter_context(open(folder / '.lock', 'w'))
    except OSError as error:
      raise _cannot_write(directory, error) from None
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise config.UserError(
        f'another process is preparing {directory}; wait for it, or give another folder'
      ) from None
    made = stack.enter_context(contextlib.ExitStack())
    made.callback(shutil.rmtree, folder, ignore_errors=True)
    try:
      for each in folder.iterdir():
        if each.name != '.lock':
          shutil.rmtree(each) if each.is_dir() else each.unlink()
      yield folder
      os.rename(folder, place)
      made.pop_all()  # a folder of that name is from now on another process's
      (place / '.lock').unlink()
    except BrokenPipeError:  # of what is printed meanwhile
      raise
    except OSError as error:
      raise _cannot_write(directory, error) from None


def _is_free(directory):
  """Whether a folder can take the place of this path; of the one we are in it cannot."""
  return directory.is_dir() and not any(directory.iterdir()) and not directory.samefile(os.curdir)


def _remove_empty(folders):
  """Removes folders, the innermost first, up to one that holds something."""
  for folder in folders:
    try:
      folder.rmdir()
    except OSError:
      return


def _cannot_write(directory, error):
  return config.UserError(
    f'cannot write the prepared data to {directory}: '
    f'{error.strerror or error}; give a folder that can be written'
  )
