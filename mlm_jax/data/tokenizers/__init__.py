"""Tokenizers: one interface to SentencePiece models and to tokenizer.json, and training of both.

base                 what a tokenizer offers: Tokenizer
sentencepiece_model  SentencePiece models
sentencepiece_json   such a model as a tokenizer.json
tokenizer_json       the tokenizer.json of the `tokenizers` library
json_documents       such files, written; training of them
scripts              what the characters of a piece make of it
extending            WordPieces and unigrams with words as further pieces
"""

from collections.abc import Sequence
import errno
import os
from typing import Any

from mlm_jax import config
from mlm_jax.data.tokenizers import json_documents
from mlm_jax.data.tokenizers import sentencepiece_model
from mlm_jax.data.tokenizers import tokenizer_json
from mlm_jax.data.tokenizers.base import BOUNDARY_MARK
from mlm_jax.data.tokenizers.base import BYTE
from mlm_jax.data.tokenizers.base import MASK
from mlm_jax.data.tokenizers.base import Tokenizer

__all__ = ['BOUNDARY_MARK', 'BYTE', 'MASK', 'TRAINED', 'Tokenizer', 'load', 'make', 'train']

_LARGEST = 1 << 30  # bytes of a file that are read
TRAINED = (*sentencepiece_model.TRAINED, *json_documents.TRAINED)


def make(model: bytes, name: str = 'the tokenizer', threads: int = 1) -> Tokenizer:
  """Returns the Tokenizer of the bytes of a SentencePiece model or of a tokenizer.json.

  Args:
    model: bytes.
    name: what errors call it.
    threads: with 1 texts are encoded one after another; they change no result.

  Raises:
    UserError: they are neither, or not what masked language modelling needs.
  """
  kind = (
    tokenizer_json.Json if tokenizer_json.looks_like(model) else sentencepiece_model.SentencePiece
  )
  return kind(model, name, threads)


def load(path: str | os.PathLike, threads: int = 1) -> Tokenizer:
  """Returns the Tokenizer of a file; UserError where it is not one."""
  try:
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
      raise OSError(errno.EINVAL, 'not a file')  # to open a pipe would wait for ever
    with open(path, 'rb') as file:
      model = file.read(_LARGEST)
  except OSError as error:
    raise config.UserError(
      f'config.data.tokenizer: cannot read {path} ({error.strerror}); give '
      f'{", ".join(TRAINED)} or the path of a SentencePiece model or a '
      'tokenizer.json'
    ) from None
  return make(model, str(path), threads)


def train(texts: Sequence[str], data: Any) -> bytes:
  """Returns the bytes of a tokenizer trained on cleaned texts, always the same for the same.

  Args:
    texts: the sample, in a fixed order.
    data: `config.data`.

  Raises:
    UserError: the texts do not give as many pieces as data.vocab_size asks for.
  """
  library = json_documents if data.tokenizer in json_documents.TRAINED else sentencepiece_model
  return library.train(texts, data)
