"""Files of results: there as a whole or not at all."""

from collections.abc import Iterator
import contextlib
import os
import pathlib

from mlm_jax import config as config_lib
from mlm_jax.core import files


@contextlib.contextmanager
def whole(output: str) -> Iterator[pathlib.Path]:
  """Yields the path of a file that is to be written, and then takes the place of `output`.

  Where anything is raised meanwhile, `output` stays as it was.

  Raises:
    UserError: it cannot be written.
  """
  partial = pathlib.Path(f'{output}.partial')
  try:
    yield partial
    os.replace(partial, output)
  except OSError as error:
    raise config_lib.UserError(files.fault(error, output)) from None
  finally:
    with contextlib.suppress(OSError):
      partial.unlink()


def check_kind(output: str, kinds: tuple[str, ...]) -> str:
  """Returns the end of a file's name, such as '.csv'; UserError where it is none of `kinds`."""
  kind = pathlib.Path(output).suffix.lower()
  if kind not in kinds:
    raise config_lib.UserError(f'{output}: must be a file of the kinds {", ".join(kinds)}')
  return kind
