"""Where a model is good and where it is not: held-out scores by slices of the hidden tokens.

Under the reference masks, hidden tokens are told apart
  by frequency  in fifths of the training text: the pieces are put in order of their count, and
                each fifth of all training tokens is one slice
  by position   in their segment, in tenths of a row
  by piece      whether it starts a word, goes on with one, or is punctuation
  by class      of their word, where the data has classes
and under the run's own policy
  by action     what the model saw instead: [MASK], a random token, the token itself.

Bits per character are the losses of all reference-masked tokens in bits, over the characters
that these tokens spell, spaces included. They are no likelihood: hidden tokens do not see each
other. A byte piece counts as a character where it begins one.
"""

import functools
import json
import math
import pathlib
import unicodedata

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.core import files
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.evaluation import heldout as masked_evaluation

FILE = 'slices.json'
_FIFTHS = ('most frequent fifth', 'second fifth', 'third fifth', 'fourth fifth', 'rarest fifth')
_TENTHS = tuple(f'{10 * n} to {10 * n + 10} %' for n in range(10))
_PIECES = ('starts a word', 'goes on', 'punctuation')
_ACTIONS = ('masked', 'random', 'kept')


def score(objective, params, policies, prepared, loaders, put, progress=1.0):
  """Returns what slices.json holds, but for the step.

  {'reference': {'tokens', 'loss', 'accuracy', 'characters', 'bits_per_character'},
   'slices': {KIND: [{'slice': name, 'tokens': n, 'loss': nats, 'accuracy': share}, ...]}}
  Slices without a token are left out.

  Args:
    objective: objectives.masked.Objective for batches of the loaders.
    params: the model's.
    policies: {'reference': policy, 'policy': policy}, on the device.
    prepared: store.Prepared.
    loaders: {source: loader} of the held-out rows, each with len() and batch(i).
    put: host batch -> device batch.
    progress: share of the training done.
  """
  names, tables = _kinds(prepared)
  step = functools.partial(_jitted_sums, objective)
  sums = {
    name: _over_rows(lambda batch: step(params, policy, tables, batch, progress), loaders, put)
    for name, policy in policies.items()
  }
  whole = sums['reference']['all'][:, 0]
  by_kind = {kind: sums['reference'][kind] for kind in names if kind in sums['reference']}
  by_kind['policy action'] = sums['policy']['action']
  return {
    'reference': _reference(whole),
    'slices': {
      kind: _rows({**names, 'policy action': _ACTIONS}[kind], sums_4K)
      for kind, sums_4K in by_kind.items()
    },
  }


def write(workdir, step, scores):
  """Writes slices.json: what `score` returned and the step that it is of."""
  content = json.dumps({'step': step, **scores}, indent=1) + '\n'
  files.write(pathlib.Path(workdir) / FILE, content)


def _kinds(prepared):
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


def _fifths(counts_V, special_ids):
  """Returns the fifth of the training text that each piece belongs to, by the middle of its
  share.
  """
  counts_V = np.array(counts_V, np.int64)
  counts_V[list(special_ids)] = 0
  order_V = np.argsort(-counts_V, kind='stable')
  middle_V = np.empty(len(counts_V))
  middle_V[order_V] = np.cumsum(counts_V[order_V]) - counts_V[order_V] / 2
  return np.minimum(5 * middle_V // max(counts_V.sum(), 1), 4)


def _piece_kind(piece, starts):
  bare = piece.replace(tokenizer_lib.BOUNDARY_MARK, '')
  if bare and all(unicodedata.category(character)[0] in 'PS' for character in bare):
    return 2
  return 0 if starts else 1


def _characters(pieces, byte_ids):
  """Returns how many characters each piece spells; the boundary mark is a space."""
  characters_V = np.array([len(piece) for piece in pieces])
  for i in byte_ids:
    # Bytes from 0x80 to 0xBF go on with a character of UTF-8.
    characters_V[i] = len(
      tokenizer_lib.BYTE.sub(lambda found: '' if '80' <= found[1] < 'C0' else 'a', pieces[i])
    )
  return characters_V


def _sums(objective, params, policy, tables, batch, progress):
  """Returns {kind: float32 [4, K]}: tokens, losses, hits and characters of each slice in a
  batch.
  """
  inputs = objective.prepare(policy, batch, masked_evaluation.reference_key(), progress)
  loss_P, better_P, _ = objective.scores(params, inputs)
  used_P = inputs.action_GP.reshape(-1) > 0
  target_P = inputs.targets_GP.reshape(-1)
  length = inputs.tokens_BL.shape[1]
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
  # No scatter: accelerators add in an order of their own there.
  return {
    kind: jnp.where(number_P[:, None] == jnp.arange(size)[None], values_4P[:, :, None], 0).sum(1)
    for kind, (number_P, size) in slices.items()
  }


_jitted_sums = jax.jit(_sums, static_argnums=0)


def _over_rows(sums_of, loaders, put):
  """Returns {kind: float64 [4, K]} over all batches of all loaders, on the host."""
  total = {}
  for loader in loaders.values():
    for i in range(len(loader)):
      # Read at once: on a CPU queued steps with collectives can starve each other.
      sums = jax.device_get(sums_of(put(loader.batch(i))))
      total = {
        kind: total.get(kind, 0) + sums_4K.astype(np.float64) for kind, sums_4K in sums.items()
      }
  return total


def _reference(sums_4):
  tokens, loss, hits, characters = map(float, sums_4)
  return {
    'tokens': int(tokens),
    'loss': _ratio(loss, tokens),
    'accuracy': _ratio(hits, tokens),
    'characters': int(characters),
    'bits_per_character': _ratio(loss / math.log(2), characters),
  }


def _rows(names, sums_4K):
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


def _ratio(total, weight):
  """Returns a mean with the seven digits of the logs, None where it is no number."""
  value = total / weight if weight else math.nan
  return float(f'{value:.7g}') if math.isfinite(value) else None
