"""Tokenizers: one face for SentencePiece models and for tokenizer.json, and training of both.

What a tokenizer offers is told in `tokenizer_base.Tokenizer`.
"""

from mlm_jax import config
from mlm_jax.data.tokenizers import sentencepiece_model
from mlm_jax.data.tokenizers import tokenizer_json
from mlm_jax.data.tokenizers.base import BOUNDARY_MARK
from mlm_jax.data.tokenizers.base import BYTE
from mlm_jax.data.tokenizers.base import MASK
from mlm_jax.data.tokenizers.base import Tokenizer

__all__ = ['BOUNDARY_MARK', 'BYTE', 'MASK', 'TRAINED', 'Tokenizer', 'load', 'make', 'train']

TRAINED = (*sentencepiece_model.TRAINED, *tokenizer_json.TRAINED)


def make(model, name='the tokenizer', threads=1):
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


def load(path, threads=1):
  """Returns the Tokenizer of a file; UserError where it is none."""
  try:
    with open(path, 'rb') as file:
      model = file.read()
  except OSError as error:
    raise config.UserError(
      f'config.data.tokenizer: cannot read {path} ({error.strerror}); give '
      f'{", ".join(TRAINED)} or the path of a SentencePiece model or a '
      'tokenizer.json'
    ) from None
  return make(model, str(path), threads)


def train(texts, data):
  """Returns the bytes of a tokenizer trained on cleaned texts, always the same for the same.

  Args:
    texts: the sample, in a fixed order.
    data: `config.data`.

  Raises:
    UserError: the texts do not give as many pieces as data.vocab_size asks for.
  """
  library = tokenizer_json if data.tokenizer in tokenizer_json.TRAINED else sentencepiece_model
  return library.train(texts, data)
