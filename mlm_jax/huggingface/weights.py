"""Tensors of a folder: their names, types and shapes first, the arrays when all of these fit.

They are read from safetensors alone. A pickle can run any program, so none is opened.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import pathlib
import re
from typing import Any

import numpy as np
import safetensors

from mlm_jax import config as config_lib
from mlm_jax.huggingface import folders

# {type in a file: its name elsewhere} of what arrays here can hold.
_DTYPES = {
  'F64': 'float64',
  'F32': 'float32',
  'F16': 'float16',
  'BF16': 'bfloat16',
  **{f'I{bits}': f'int{bits}' for bits in (8, 16, 32, 64)},
  **{f'U{bits}': f'uint{bits}' for bits in (8, 16, 32, 64)},
  'BOOL': 'bool',
}
_PICKLES = re.compile(r'.*\.(bin|pt|pth|pkl|ckpt|bin\.index\.json)')


@dataclasses.dataclass(frozen=True)
class Header:
  """What a file says of a tensor.

  Attributes:
    path: of the file.
    dtype: such as 'float32'; where arrays here cannot hold it, the file's own word.
    shape: its sizes.
  """

  path: pathlib.Path
  dtype: str
  shape: tuple[int, ...]

  @property
  def is_readable(self) -> bool:
    """Whether arrays here can hold it."""
    return self.dtype in _DTYPES.values()


def headers(folder: pathlib.Path) -> dict[str, Header]:
  """Returns {name: Header} of model.safetensors or its shards; no array is read.

  Raises:
    UserError: there is none, only a pickle, a file that is damaged, or shards that are not what
      their index says.
  """
  single, index = folder / folders.TENSORS, folder / folders.INDEX
  if single.exists():
    return _headers([single])
  if not index.exists():
    raise config_lib.UserError(_nothing(folder))
  places = folders.read_object(index).get('weight_map')
  if not isinstance(places, dict) or not all(isinstance(each, str) for each in places.values()):
    raise config_lib.UserError(f"{index} is damaged: it must say each tensor's file")
  names = sorted(set(places.values()))
  # The index comes from outside and must not lead outside: a name with a folder in it could.
  if not all(pathlib.PurePath(name).name == name not in ('', '..') for name in names):
    raise config_lib.UserError(f'{index} names files outside its folder; download it again')
  found = _headers([folder / name for name in names])
  if absent := sorted(places.keys() - found.keys()):
    raise config_lib.UserError(
      f'{index} names tensors that no shard holds ({len(absent)}): {listed(absent)}; download the '
      'shards again'
    )
  return found


def _headers(paths: Iterable[pathlib.Path]) -> dict[str, Header]:
  found: dict[str, Header] = {}
  for path in paths:
    with _opened(path) as file:
      for name in file.keys():
        if name in found:
          raise config_lib.UserError(
            f'{name} is both in {found[name].path} and in {path.name}; keep one of the two'
          )
        part = file.get_slice(name)
        dtype = _DTYPES.get(part.get_dtype(), part.get_dtype())
        found[name] = Header(path, dtype, tuple(part.get_shape()))
  return found


def read(headers: Mapping[str, Header]) -> dict[str, np.ndarray]:
  """Returns {name: array as it is there}.

  Raises:
    UserError: a file that is damaged, or numbers that are not finite.
  """
  found: dict[str, np.ndarray] = {}
  for path in sorted({header.path for header in headers.values()}):
    with _opened(path) as file:
      found |= {name: file.get_tensor(name) for name, at in headers.items() if at.path == path}
  # What a run diverged to, or a damaged disk: nothing computed with it would mean anything.
  wrong = [name for name, array in found.items() if not _is_finite(array)]
  if wrong:
    raise config_lib.UserError(
      f'{min(headers[name].path for name in wrong).parent}: tensors that hold NaN or infinity '
      f'({len(wrong)}): {listed(wrong)}; such weights are of no use'
    )
  return found


def _is_finite(array: np.ndarray) -> bool:
  # By kind, bfloat16 is none of NumPy's own.
  return array.dtype.kind in 'iub' or bool(np.isfinite(array).all())


def listed(names: list[str], most: int = 8) -> str:
  """Returns the first names, joined."""
  return ', '.join(names[:most]) + (', ...' if len(names) > most else '')


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Any]:
  """Yields a safetensors file; what is wrong with it is a UserError."""
  said = f'{path} is missing, damaged or cut short'
  try:
    config_lib.check_file(path)  # says why it cannot be read; safetensors calls it missing
  except config_lib.UserError as error:
    raise config_lib.UserError(f'{said} ({error}); download it again') from None
  try:
    with safetensors.safe_open(path, 'numpy') as file:
      yield file
  except (OSError, TypeError, ValueError, safetensors.SafetensorError) as error:
    raise config_lib.UserError(
      f'{said} ({config_lib.one_line(error)}); download it again'
    ) from None


def _nothing(folder: pathlib.Path) -> str:
  """Returns what is to be done about a folder without tensors."""
  single = folder / folders.TENSORS
  pickles = sorted(each.name for each in folder.iterdir() if _PICKLES.fullmatch(each.name))
  if not pickles:
    return (
      f'{folder} has no {folders.TENSORS}; where there is only a pickle, such as '
      'pytorch_model.bin, put it there, and this command says how to convert it'
    )
  # A model in several pickles needs all of them in one command.
  pattern = folder / (
    'pytorch_model*.bin' if pickles[0].startswith('pytorch_model') else pickles[0]
  )
  return (
    f'{folder / pickles[0]} is a pickle, which can run any program and is not opened; convert '
    'it: python -c '
    f'"import glob, torch, safetensors.torch as s; s.save_file({{n: t.clone() for f in '
    f"glob.glob('{pattern}') for "
    f"n, t in torch.load(f, weights_only=True).items()}}, '{single}')\""
  )
