"""How a run makes one vector of a text, and the files in which it keeps that."""

from collections.abc import Mapping
import dataclasses
import io
import json
import os
import pathlib
from typing import Any

import numpy as np

from mlm_jax import config
from mlm_jax.core import files
from mlm_jax.models import pooling

FOLDER = 'embedding'  # in the run's folder
_SETTINGS, _ARRAYS = 'embedding.json', 'modules.npz'
_KINDS = {kind.__name__: kind for kind in (pooling.Normalize, pooling.LayerNorm, pooling.Dense)}


@dataclasses.dataclass(frozen=True)
class TextEmbedding:
  """How one vector of a text is made: by default the mean over all of its tokens.

  Attributes:
    modes: of pooling.MODES.
    modules: what the pooled vector goes through, in this order.
    max_tokens: of a text with [CLS] and [SEP]; 0 = as many as the rows have.
    lowercase: whether a text is put into lower case first, whatever the tokenizer does.
    prompts: {name: text that is put before a text}.
    default_prompt: name of the one that is, unless another is asked for; '' for none.
    include_prompt: whether the tokens of a prompt are pooled too.
    similarity: by which such vectors are to be compared, for whoever reads it; '' = not said.
  """

  modes: tuple[str, ...] = ('mean',)
  modules: tuple[pooling.Module, ...] = ()
  max_tokens: int = 0
  lowercase: bool = False
  prompts: Mapping[str, str] = dataclasses.field(default_factory=dict)
  default_prompt: str = ''
  include_prompt: bool = True
  similarity: str = ''


def write(workdir: str | os.PathLike, embedding: TextEmbedding) -> None:
  """Writes an embedding into a run's folder."""
  folder = pathlib.Path(workdir) / FOLDER
  folder.mkdir(exist_ok=True)
  settings = {field.name: getattr(embedding, field.name) for field in dataclasses.fields(embedding)}
  arrays, modules = {}, []
  for number, module in enumerate(embedding.modules):
    values = vars(module)
    arrays |= {
      f'{number}/{name}': np.asarray(value) for name, value in values.items() if _is_array(value)
    }
    plain = {name: value for name, value in values.items() if not _is_array(value)}
    modules.append({'kind': type(module).__name__, **plain})
  # What is an array lies in the other file, under the number of its module.
  text = json.dumps(settings | {'modules': modules}, indent=1, ensure_ascii=False) + '\n'
  files.write(folder / _SETTINGS, text)
  archive = io.BytesIO()
  np.savez(archive, **arrays)
  files.write(folder / _ARRAYS, archive.getvalue())


def _is_array(value: object) -> bool:
  return hasattr(value, 'shape')


def read(workdir: str | os.PathLike) -> TextEmbedding | None:
  """Returns the embedding that a run's folder holds, None where it holds none.

  Raises:
    UserError: it is damaged.
  """
  folder = pathlib.Path(workdir) / FOLDER
  if not folder.is_dir():
    return None
  try:
    settings = config.read_json(folder / _SETTINGS)
    arrays = files.read_npz(config.read_bytes(folder / _ARRAYS))
    modules = [_module(number, each, arrays) for number, each in enumerate(settings['modules'])]
    return TextEmbedding(
      **settings | {'modes': tuple(settings['modes']), 'modules': tuple(modules)}
    )
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise config.UserError(
      f'{folder} is damaged ({config.one_line(error)}); copy it again or import the run again'
    ) from None


def _module(number: int, settings: dict[str, Any], arrays: Mapping[str, Any]) -> pooling.Module:
  """Returns the module of a number from its plain settings and all arrays."""
  before = f'{number}/'
  own = {name.removeprefix(before): arrays[name] for name in arrays if name.startswith(before)}
  plain = {name: value for name, value in settings.items() if name != 'kind'}
  return _KINDS[settings['kind']](**plain, **own)
