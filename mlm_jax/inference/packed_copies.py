"""Copies of many texts through a model, packed into rows that are full."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.data import pack
from mlm_jax.inference import encoding
from mlm_jax.inference.hidden_copies import Copies

_TOKENS = 1 << 19  # packed together, so that no more copies are in memory
_WIDTH = 128  # of a row at least, where the model has such rows: short copies share it
_SEGMENTS = 32  # copies of a row, at most
_PLACES = 128  # that go through the head together: their vocabularies fit in memory
_AHEAD = 2  # batches that are computed while others are made


def log_probabilities(
  reader: encoding.Reader, copies: Iterable[Copies], ids: tuple[int, int]
) -> Iterator[np.ndarray]:
  """Yields float32 [S, K] for each of the copies: log p of their answers.

  Args:
    reader: of the model; the copies must fit its rows.
    copies: Copies.
    ids: of [CLS] and [SEP].

  Raises:
    UserError: the parameters are not numbers.
  """
  score = functools.partial(_log_probabilities, (reader.model, reader.pad_id))
  for group in _groups(copies):
    yield from _score(reader, group, ids, score)


def log_originals(
  reader: encoding.Reader, copies: Iterable[Copies], ids: tuple[int, int]
) -> Iterator[np.ndarray]:
  """Yields float32 [S, K] for each of the copies: a detector's log p that a place is original.

  Arguments and errors as for `log_probabilities`; the answers say nothing but K.
  """
  score = functools.partial(_log_originals, (reader.model, reader.pad_id))
  for group in _groups(copies):
    yield from _score(reader, group, ids, score)


def by_text(
  contents: Sequence[np.ndarray],
  copies: Callable[[np.ndarray], Iterable[Copies]],
  score: Callable[..., Iterator[np.ndarray]],
  reader: encoding.Reader,
  ids: tuple[int, int],
) -> list[np.ndarray]:
  """Returns float64 [pieces] of each text: the score of each of its pieces.

  Equal texts are scored once: so their scores are equal to the last bit.

  Args:
    contents: the ids of each text.
    copies: makes the Copies of a text, in which each piece is asked for once, in their order.
    score: `log_probabilities` or `log_originals`, which are given reader and ids.
    reader, ids: as there.
  """
  distinct = {each.tobytes(): each for each in contents}
  asked = (part for each in distinct.values() for part in copies(each))
  scores = [found_S1[:, 0] for found_S1 in score(reader, asked, ids)]
  flat = np.concatenate([np.zeros(0), *scores])
  cuts = np.cumsum([len(each) for each in distinct.values()])[:-1]
  found = dict(zip(distinct, np.split(flat, cuts)))
  return [found[each.tobytes()] for each in contents]


def _groups(copies: Iterable[Copies]) -> Iterator[list[Copies]]:
  group, tokens = [], 0
  for each in copies:
    group.append(each)
    tokens += each.contents_CT.size
    if tokens >= _TOKENS:
      yield group
      group, tokens = [], 0
  if group:
    yield group


def _score(
  reader: encoding.Reader, group: Sequence[Copies], ids: tuple[int, int], score: Callable
) -> list[np.ndarray]:
  """Returns float32 [S, K] for each of the copies of a group."""
  lengths_C = np.concatenate(
    [np.full(len(each.contents_CT), each.contents_CT.shape[1]) for each in group]
  )
  longest = int(lengths_C.max()) + pack.OVERHEAD
  width = max(-(-longest // 32) * 32, _WIDTH)
  width = max(min(width, reader.row_length), longest)
  plan = pack.best_fit(lengths_C, width, _SEGMENTS)
  pieces_T = np.concatenate([each.contents_CT.reshape(-1) for each in group])
  packed = pack.Part(plan, 0, plan.rows, np.cumsum(lengths_C) - lengths_C, width)
  cls_id, sep_id = ids
  tokens_RL = packed.tokens(pieces_T, (cls_id, sep_id, reader.pad_id), np.int32)
  starts_RS = packed.starts(_SEGMENTS, np.int32)
  place_S = _places(group, packed, starts_RS, len(lengths_C), width)
  answers_SK = _answers(group)
  order_S = np.argsort(place_S, kind='stable')
  per_batch = encoding.ROWS * width
  bounds = np.searchsorted(place_S[order_S], np.arange(0, plan.rows * width, per_batch))
  found_SK = np.zeros(answers_SK.shape, np.float32)
  waiting = []
  for b, (begin, end) in enumerate(zip(bounds, [*bounds[1:], len(order_S)])):
    chosen = order_S[begin:end]
    rows = slice(b * encoding.ROWS, (b + 1) * encoding.ROWS)
    scores = score(
      reader.params,
      _filled(tokens_RL[rows], encoding.ROWS, reader.pad_id),
      _filled(starts_RS[rows], encoding.ROWS, -1),
      _filled(place_S[chosen] - b * per_batch, _rounded(len(chosen)), 0),
      _filled(answers_SK[chosen], _rounded(len(chosen)), 0),
    )
    waiting.append((chosen, scores))
    if len(waiting) > _AHEAD:
      _read(reader, found_SK, waiting.pop(0))
  for each in waiting:
    _read(reader, found_SK, each)
  cuts = np.cumsum([len(each.copy_S) for each in group])[:-1]
  return [
    part[:, : each.answers_SK.shape[1]] for part, each in zip(np.split(found_SK, cuts), group)
  ]


def _places(
  group: Sequence[Copies], packed: pack.Part, starts_RS: np.ndarray, copies: int, width: int
) -> np.ndarray:
  """Returns where each question is, counted over all rows."""
  copy_RS = packed.of_documents(np.arange(copies), _SEGMENTS, -1)
  row_N, rank_N = np.nonzero(copy_RS >= 0)
  at_C = np.zeros(copies, np.int64)
  at_C[copy_RS[row_N, rank_N]] = row_N * width + starts_RS[row_N, rank_N]
  before = np.cumsum([0, *(len(each.contents_CT) for each in group)])
  copy_S = np.concatenate([each.copy_S + n for each, n in zip(group, before)])
  return at_C[copy_S] + 1 + np.concatenate([each.place_S for each in group])  # 1: [CLS]


def _answers(group: Sequence[Copies]) -> np.ndarray:
  """Returns int32 [S, K] of all; K is a power of two, so that shapes recur."""
  most = max(each.answers_SK.shape[1] for each in group)
  K = 1 << (most - 1).bit_length()
  widened = [np.pad(x.answers_SK, ((0, 0), (0, K - x.answers_SK.shape[1]))) for x in group]
  return np.concatenate(widened).astype(np.int32)


def _rounded(places: int) -> int:
  """Returns a number of places that recurs: _PLACES times a power of two."""
  return _PLACES << (max(1, -(-places // _PLACES)) - 1).bit_length()


def _filled(array: np.ndarray, size: int, value: int) -> np.ndarray:
  filled = np.full((size, *array.shape[1:]), value, np.int32)
  filled[: len(array)] = array
  return filled


def _read(
  reader: encoding.Reader, found_SK: np.ndarray, computed: tuple[np.ndarray, jax.Array]
) -> None:
  chosen, scores = computed
  found_SK[chosen] = reader.numbers(np.asarray(scores)[: len(chosen)])


@functools.partial(jax.jit, static_argnums=0)
def _log_probabilities(
  static: Any,
  params: Any,
  tokens_BL: jax.Array,
  starts_BS: jax.Array,
  places_P: jax.Array,
  answers_PK: jax.Array,
) -> jax.Array:
  decoded_BLD = encoding.encode(static, params, tokens_BL, starts_BS).decoded_BLD
  # Places alone, and some of them at a time: [B, L, V] would not fit.
  decoded_PD = decoded_BLD.reshape(-1, decoded_BLD.shape[-1])[places_P]

  def score(part: tuple[jax.Array, jax.Array]) -> jax.Array:
    decoded_CD, answers_CK = part
    log_CV = jax.nn.log_softmax(static[0].head(params, decoded_CD), axis=1)
    return jnp.take_along_axis(log_CV, answers_CK, axis=1)

  in_parts = lambda x: x.reshape(-1, _PLACES, x.shape[-1])
  found = jax.lax.map(score, (in_parts(decoded_PD), in_parts(answers_PK)))
  return found.reshape(answers_PK.shape).astype(jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def _log_originals(
  static: Any,
  params: Any,
  tokens_BL: jax.Array,
  starts_BS: jax.Array,
  places_P: jax.Array,
  answers_PK: jax.Array,
) -> jax.Array:
  hidden_BLD = encoding.encode(static, params, tokens_BL, starts_BS).hidden_BLD
  hidden_PD = hidden_BLD.reshape(-1, hidden_BLD.shape[-1])[places_P]
  # A logit above 0 means replaced.
  log_P = jax.nn.log_sigmoid(-static[0].head(params, hidden_PD))
  return jnp.broadcast_to(log_P[:, None], answers_PK.shape).astype(jnp.float32)
