"""Where a model is good and where it is not: held-out scores by slices of the masked tokens.

Under the reference masks, masked tokens are divided
  by frequency  in fifths of the training text: the pieces are sorted by their count, and each
                fifth of all training tokens is one slice
  by position   in their segment, in tenths of a row
  by piece      whether it starts a word, continues one, or is punctuation
  by class      of their word, where the data has classes
and under the run's own policy
  by action     what the model saw instead: [MASK], a random token, the token itself.

Bits per character are the losses of all reference-masked tokens in bits, over the characters
that these tokens spell, spaces included. They are not a likelihood: masked tokens do not see each
other. A byte piece counts as a character where it begins one.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import functools
import math
from typing import Any
import unicodedata

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.evaluation import baselines
from mlm_jax.evaluation import heldout
from mlm_jax.evaluation import segment_scores

FILE = 'slices.json'
_FIFTHS = ('most frequent fifth', 'second fifth', 'third fifth', 'fourth fifth', 'rarest fifth')
_TENTHS = tuple(f'{10 * n} to {10 * n + 10} %' for n in range(10))
_PIECES = ('starts a word', 'continues a word', 'punctuation')
_ACTIONS = ('masked', 'random', 'kept')


def score(
  objective: Any,
  params: Any,
  policies: Mapping[str, masking.Policy],
  prepared: store.Prepared,
  loaders: Mapping[str, baselines.Loader],
  put: Callable[[batches.Batch], batches.Batch],
  progress: float = 1.0,
  whole: jax.sharding.Sharding | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Returns the contents of slices.json, and of segment_scores.npz, each without the step.

  In slices.json are

  {'reference': {'tokens', 'loss', 'accuracy', 'characters', 'bits_per_character'},
   'slices': {KIND: [{'slice': name, 'tokens': n, 'loss': nats, 'accuracy': share}, ...]}}
  Slices without a token are left out.

  Args:
    objective: objectives.masked.Objective for batches of the loaders.
    params: the model's.
    policies: {'reference': policy, 'policy': policy}, on the device.
    prepared: store.Prepared.
    loaders: {source: loader} of the held-out rows.
    put: host batch -> device batch.
    progress: share of the training done.
    whole: where what is not divided lies on the devices; None where one process has all.
  """
  names, tables = _kinds(prepared)
  step = functools.partial(_jitted_sums(whole), objective)
  sums, segments = {}, {}
  for name, policy in policies.items():
    sums[name], segments[name] = _over_rows(
      lambda batch: step(params, policy, tables, batch, progress), loaders, put
    )
  # Data without classes has no sums for that kind.
  total_4 = sums['reference']['all'][:, 0]
  by_kind = {kind: sums['reference'][kind] for kind in names if kind in sums['reference']}
  by_kind['policy action'] = sums['policy']['action']
  content = {
    'reference': _reference(total_4),
    'slices': {
      kind: _rows({**names, 'policy action': _ACTIONS}[kind], sums_4K)
      for kind, sums_4K in by_kind.items()
    },
  }
  return content, segment_scores.collect(segments['reference'])


def _kinds(
  prepared: store.Prepared,
) -> tuple[dict[str, tuple[str, ...]], dict[str, np.ndarray]]:
  """Returns ({kind: names of its slices}, {name: a column over the vocabulary})."""
  tokenizer = prepared.tokenizer
  pieces = [tokenizer.piece(i) for i in range(tokenizer.size)]
  kinds = [_piece_kind(piece, starts) for piece, starts in zip(pieces, tokenizer.starts_V)]
  tables = {
    'frequency': _fifths(prepared.counts_V, tokenizer.special_ids),
    'piece': np.array(kinds),
    'characters': _characters(pieces, tokenizer.byte_ids),
  }
  names = {
    'frequency': _FIFTHS,
    'position': _TENTHS,
    'piece': _PIECES,
    'class': ('no class', *prepared.table.classes),
  }
  return names, {name: table_V.astype(np.int32) for name, table_V in tables.items()}


def _fifths(counts_V: np.ndarray, special_ids: Sequence[int]) -> np.ndarray:
  """Returns the fifth of the training text that each piece belongs to."""
  counts_V = np.array(counts_V, np.int64)
  counts_V[list(special_ids)] = 0  # never masked, so not part of the text that is divided
  # A frequent piece may reach over the end of a fifth: it belongs to the one of its middle.
  order_V = np.argsort(-counts_V, kind='stable')
  middle_V = np.empty(len(counts_V))
  middle_V[order_V] = np.cumsum(counts_V[order_V]) - counts_V[order_V] / 2
  return np.minimum(5 * middle_V // max(counts_V.sum(), 1), 4)


def _piece_kind(piece: str, starts: bool) -> int:
  """Returns the index in _PIECES."""
  bare = piece.replace(tokenizer_lib.BOUNDARY_MARK, '')
  if bare and all(unicodedata.category(character)[0] in 'PS' for character in bare):
    return 2
  return 0 if starts else 1


def _characters(pieces: Sequence[str], byte_ids: Sequence[int]) -> np.ndarray:
  """Returns how many characters each piece spells; the boundary mark is a space."""
  characters_V = np.array([len(piece) for piece in pieces])
  for i in byte_ids:
    # In UTF-8 the bytes from 0x80 to 0xBF continue a character.
    characters_V[i] = len(
      tokenizer_lib.BYTE.sub(lambda found: '' if '80' <= found[1] < 'C0' else 'a', pieces[i])
    )
  return characters_V


def _sums(
  objective: Any,
  params: Any,
  policy: masking.Policy,
  tables: Mapping[str, jax.Array],
  batch: batches.Batch,
  progress: float,
) -> tuple[dict[str, jax.Array], segment_scores.Sums]:
  """Returns ({kind: float32 [4, K]}, sums by segment) of a batch.

  They are tokens, losses, hits and characters by slice.
  """
  inputs = objective.prepare(policy, policy.learned, batch, heldout.reference_key(), progress)
  loss_P, better_P, _ = objective.scores(params, inputs)
  # Action 0 marks the padding of the prediction buffer, whose tokens mean nothing.
  used_P = inputs.action_GP.reshape(-1) > 0
  target_P = inputs.targets_GP.reshape(-1)
  length = inputs.tokens_BL.shape[1]
  # G groups of rows share a buffer of P positions; their index is into the group's rows.
  position_GR = inputs.positions_BL.reshape(inputs.index_GP.shape[0], -1)
  position_P = jnp.take_along_axis(position_GR, inputs.index_GP, axis=1).reshape(-1)
  slices = {
    'all': (jnp.zeros_like(target_P), 1),
    'frequency': (tables['frequency'][target_P], len(_FIFTHS)),
    'position': (position_P * len(_TENTHS) // length, len(_TENTHS)),
    'piece': (tables['piece'][target_P], len(_PIECES)),
    'action': (inputs.action_GP.reshape(-1).astype(jnp.int32) - 1, len(_ACTIONS)),
  }
  if inputs.class_GP is not None:
    slices['class'] = inputs.class_GP.reshape(-1).astype(jnp.int32), len(policy.table.classes) + 1
  values_4P = jnp.where(
    used_P,
    jnp.stack(
      [
        jnp.ones_like(loss_P),
        loss_P,
        (better_P == 0).astype(jnp.float32),
        tables['characters'][target_P].astype(jnp.float32),
      ]
    ),
    0,
  )
  # Not by a scatter, in which accelerators add in an order that is not fixed.
  by_kind = {
    kind: jnp.where(number_P[:, None] == jnp.arange(size)[None], values_4P[:, :, None], 0).sum(1)
    for kind, (number_P, size) in slices.items()
  }
  by_segment = segment_scores.sums(
    values_4P[:3], used_P, inputs.index_GP, inputs.segments_BL, batch.starts_BS.shape[1]
  )
  return by_kind, (batch.example_B2, by_segment)


@functools.cache
def _jitted_sums(whole: jax.sharding.Sharding | None) -> Callable:
  # On all devices, since each process reads what all rows give.
  return jax.jit(_sums, static_argnums=0, out_shardings=whole)


def _over_rows(
  sums_of: Callable[[batches.Batch], tuple[dict[str, jax.Array], segment_scores.Sums]],
  loaders: Mapping[str, baselines.Loader],
  put: Callable[[batches.Batch], batches.Batch],
) -> tuple[dict[str, np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
  """Returns ({kind: float64 [4, K]} over all batches, the sums by segment of each), on the host."""
  total: dict[str, Any] = {}
  segments = []
  for loader in loaders.values():
    for i in range(len(loader)):
      # Read at once: on a CPU queued steps with collectives can starve each other.
      sums, by_segment = jax.device_get(sums_of(put(loader.batch(i))))
      total = {
        # float64 on the host, where float32 would lose the small batches among many.
        kind: total.get(kind, 0) + sums_4K.astype(np.float64)
        for kind, sums_4K in sums.items()
      }
      segments.append(by_segment)
  return total, segments


def _reference(sums_4: np.ndarray) -> dict[str, int | float | None]:
  """Returns the entry 'reference' of slices.json."""
  tokens, loss, hits, characters = map(float, sums_4)
  return {
    'tokens': int(tokens),
    'loss': _ratio(loss, tokens),
    'accuracy': _ratio(hits, tokens),
    'characters': int(characters),
    'bits_per_character': _ratio(loss / math.log(2), characters),
  }


def _rows(names: Sequence[str], sums_4K: np.ndarray) -> list[dict[str, Any]]:
  """Returns the slices of one kind as in slices.json."""
  return [
    {
      'slice': name,
      'tokens': int(tokens),
      'loss': _ratio(loss, tokens),
      'accuracy': _ratio(hits, tokens),
    }
    for name, (tokens, loss, hits, _) in zip(names, sums_4K.T)
    if tokens
  ]


def _ratio(total: float, weight: float) -> float | None:
  """Returns a mean with the seven digits of the logs, None where it is not finite."""
  value = total / weight if weight else math.nan
  return float(f'{value:.7g}') if math.isfinite(value) else None
