"""Vectors of texts, pooled from those of their tokens, and the tokens' own."""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses

import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.data.tokenizers import json_documents
from mlm_jax.inference import encoding
from mlm_jax.inference import rows as rows_lib
from mlm_jax.models import pooling as pooling_lib
from mlm_jax.models.text_embedding import TextEmbedding


@dataclasses.dataclass(frozen=True)
class Embedder:
  """A model that makes vectors of texts, in the way that it came with.

  Attributes:
    reader: encoding.Reader.
    rows: rows.Maker.
    way: TextEmbedding.
  """

  reader: encoding.Reader
  rows: rows_lib.Maker
  way: TextEmbedding

  def __call__(
    self,
    texts: Sequence[str],
    modes: tuple[str, ...],
    modules: Sequence[pooling_lib.Module],
    layers: tuple[int, ...],
    prompt: str,
    too_long: str,
  ) -> np.ndarray:
    """Returns float32 [layers, n, D] of n texts, from choices that have been checked."""
    parts = self._parts(texts, prompt, too_long)
    firsts = [first for each in parts for first in (self._first(prompt), *[0] * (len(each) - 1))]
    pooled_KRD = self.reader.pooled([row for each in parts for row in each], layers, modes, firsts)
    # Several rows of one text: their mean, weighted by their tokens.
    begins_N = np.cumsum([0, *map(len, parts)])[:-1]
    tokens_R = np.array([len(row) for each in parts for row in each], np.float32)
    sums_KND = np.add.reduceat(pooled_KRD * tokens_R[:, None], begins_N, axis=1)
    vectors_KND = sums_KND / np.add.reduceat(tokens_R, begins_N)[:, None]
    x_ND = jnp.asarray(vectors_KND.reshape(-1, vectors_KND.shape[2]))
    for module in modules:
      x_ND = module(x_ND)
    # A copy: what JAX gives cannot be written to.
    return np.array(x_ND).reshape(len(layers), len(parts), x_ND.shape[1])

  def tokens(
    self, texts: Sequence[str], layers: tuple[int, ...], prompt: str, too_long: str
  ) -> list[np.ndarray]:
    """Returns float32 [layers, tokens, D] of each text, [CLS] and [SEP] once each."""
    parts = self._parts(texts, prompt, too_long)
    hidden = self.reader.hidden((row for each in parts for row in each), layers)
    joined = []
    for each in parts:
      states = [next(hidden) for _ in each]
      # Of several rows of one text only the first has its [CLS], only the last its [SEP].
      begun = [states[0], *(state[:, 1:] for state in states[1:])]
      joined.append(np.concatenate([*(state[:, :-1] for state in begun[:-1]), begun[-1]], axis=1))
    return joined

  def _parts(self, texts: Sequence[str], prompt: str, too_long: str) -> list[list[np.ndarray]]:
    """Returns the rows of each text."""
    contents = [self._contents(prompt + text) for text in texts]
    done = 'they are read part by part, the parts weighted by their tokens'
    return [self.rows.windows(each) for each in self.rows.fit(contents, too_long, done)]

  def _contents(self, text: str) -> np.ndarray:
    return self.rows.contents(json_documents.lowercase(text) if self.way.lowercase else text)

  def _first(self, prompt: str) -> int:
    """Returns the first token of a row that counts."""
    if not prompt or self.way.include_prompt:
      return 0
    return 1 + len(self._contents(prompt))  # [CLS] is left out with the prompt


def choose_layers(layers: int | Sequence[int] | None, number: int) -> tuple[int, ...]:
  """Returns numbers from 0 to `number` of the layers that a caller asks for.

  Raises:
    UserError: there are no such layers.
  """
  asked = (number,) if layers is None else layers
  asked = tuple(asked) if isinstance(asked, Iterable) else (asked,)
  is_number = lambda layer: isinstance(layer, int | np.integer) and -number - 1 <= layer <= number
  if not asked or not all(map(is_number, asked)):
    raise config_lib.UserError(
      f'layers = {layers!r}: must be one or more whole numbers from {-number - 1} to {number}, 0 '
      'for what the first layer is given'
    )
  return tuple(int(layer) % (number + 1) for layer in asked)


def choose_modes(pooling: str | Sequence[str]) -> tuple[str, ...]:
  """Returns the modes of pooling that a caller asks for; UserError where there is no such mode."""
  asked = (pooling,) if isinstance(pooling, str) else pooling
  is_list = isinstance(asked, Sequence) and len(asked) > 0
  if not is_list or not all(mode in pooling_lib.MODES for mode in asked):
    raise config_lib.UserError(
      f'pooling = {pooling!r}: must be {", ".join(pooling_lib.MODES)}, or a list of these'
    )
  return tuple(asked)


def choose_prompt(way: TextEmbedding, prompt: str | None) -> str:
  """Returns the text that goes before every text; UserError where there is no such prompt."""
  name = way.default_prompt if prompt is None else prompt
  if name and name not in way.prompts:
    raise config_lib.UserError(
      f'prompt = {prompt!r}: the model has {", ".join(way.prompts) or "no prompts"}'
    )
  return way.prompts[name] if name else ''
