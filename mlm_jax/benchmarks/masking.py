"""Masking a batch: tokens a second, compared with the collator of `transformers`.

Ours runs compiled on the default device, rows already there, as in a training
step. The collator gets what a PyTorch DataLoader gives it and runs on one thread
as in a DataLoader's worker (with more it is slower): a list of
{'input_ids': int64 tensor}, one a row. It is measured also without the dicts, which is
faster, and its masking alone, with stacked rows and known special tokens.
For words, which it finds by offsets, it gets dicts of Python lists, its fastest input; it
has no spans, collocations, sentences or weights, so all of these are compared with its words.
Ours uses all cores, so the ratio by processor time is the one to quote.
"""

import argparse
from collections.abc import Callable
import importlib.util
from typing import Any

import jax
import numpy as np

from mlm_jax import masking
from mlm_jax.benchmarks import clock
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import vocabulary

_SPECIAL = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
_CLASSES = ('NOUN', 'VERB', 'ADJ', 'DET', 'PUNCT')
_TOKENS: dict[str, dict[str, Any]] = {
  'token, independent': {'sampling': 'bernoulli'},
  'token, exact': {},
  'token, exact, random ids by frequency': {'replacement_distribution': 'frequency'},
}
_WORDS: dict[str, dict[str, Any]] = {
  'word, independent': {'unit': 'word', 'sampling': 'bernoulli'},
  'word, exact': {'unit': 'word'},
  'span of words': {'unit': 'span'},
  'span of tokens': {'unit': 'span', 'span_of': 'token'},
  'collocation': {'unit': 'collocation'},
  'sentence': {'unit': 'sentence'},
  'token by frequency': {'selection': 'frequency'},
  'word by frequency': {'unit': 'word', 'selection': 'frequency'},
  'word by class': {'unit': 'word', 'selection': 'class'},
  'token by accuracy': {'selection': 'accuracy'},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--rows', type=int, default=256, help='rows a batch (default 256)')
  parser.add_argument('--length', type=int, default=512, help='tokens a row (default 512)')
  parser.add_argument('--vocabulary', type=int, default=8192, help='ids (default 8192)')
  parser.add_argument('--repetitions', type=int, default=9, help='turns each gets (default 9)')


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Prints the table of uniform tokens, then that of all other units and of weights.

  Returns the numbers of both.
  """
  batch, table = _batch(args.rows, args.length, args.vocabulary)
  # The comparison needs an environment of its own; ours is measured in any.
  peers = all(importlib.util.find_spec(name) for name in ('torch', 'transformers'))
  found: dict[str, Any] = {'versions': clock.versions()}
  for unit, policies in (('token', _TOKENS), ('word', _WORDS)):
    tasks = {name: _ours(table, batch, settings) for name, settings in policies.items()}
    reference = None
    if peers:
      theirs = _collator(table, np.asarray(batch.tokens_BL, np.int64), unit)
      # Ratios are to the collator as it is used.
      reference = next(iter(theirs))
      tasks |= theirs
    times = clock.take_turns(tasks, args.repetitions)
    print(
      f'{args.rows} x {args.length} tokens, {args.vocabulary} ids, rate .15, '
      f'on {jax.devices()[0].device_kind}'
    )
    found[f'beside {unit}s'] = clock.measured(times, batch.tokens_BL.size / 1e6, 'Mtok', reference)
    print('\n'.join(clock.table(found[f'beside {unit}s'])), '\n')
  if not peers:
    print(
      'torch and transformers are not installed, so there is nothing to compare with: '
      '`make bench` brings them in an environment of their own.'
    )
  return found


def _batch(rows: int, length: int, size: int) -> tuple[batches.Batch, vocabulary.Table]:
  """Returns (Batch, Table) of random tokens.

  Words have 1.5 pieces and sentences 20, on average; a fifth of the tokens continue a collocation.
  """
  g = np.random.default_rng(0)
  ids = np.arange(size)
  table = vocabulary.table(
    size,
    _SPECIAL.index('[MASK]'),
    range(len(_SPECIAL)),
    # Two of three ids start a word.
    starts_V=ids % 3 != 0,
    closes_V=ids % 20 == 7,
    counts_V=1e9 / (10 + ids),
    classes=_CLASSES,
  )
  tokens_BL = g.integers(len(_SPECIAL), size, (rows, length))
  tokens_BL[:, 0], tokens_BL[:, -1] = _SPECIAL.index('[CLS]'), _SPECIAL.index('[SEP]')
  # One segment of at most 8 a row, from its first token.
  starts_BS = np.where(np.arange(8) == 0, 0, -1) + np.zeros((rows, 1), int)
  example_B2 = np.stack([np.zeros(rows), np.arange(rows)], axis=1)
  return batches.Batch(
    tokens_BL.astype(np.int32),
    starts_BS.astype(np.int32),
    example_B2.astype(np.uint32),
    np.zeros(rows, np.uint32),
    {
      'joins_BL': g.random((rows, length)) < 0.2,
      'classes_BL': g.integers(0, len(_CLASSES) + 1, (rows, length)).astype(np.uint8),
    },
  ), table


def _ours(
  table: vocabulary.Table, batch: batches.Batch, settings: dict[str, Any]
) -> Callable[[], Any]:
  """Returns a function that masks the batch once."""
  # Transfers are not measured.
  batch, policy = jax.device_put((batch, masking.make(table, **settings)))
  mask_batch, key = jax.jit(masking.mask_batch), rng.root_key(0)
  return lambda: jax.block_until_ready(mask_batch(policy, key, batch))


def _collator(
  table: vocabulary.Table, tokens_BL: np.ndarray, unit: str
) -> dict[str, Callable[[], Any]]:
  """Returns {name: function that masks the batch once}."""
  import tokenizers
  import torch
  import transformers

  # As in a DataLoader's worker.
  torch.set_num_threads(1)
  ids = {name: i for i, name in enumerate(_SPECIAL)}
  # It finds words by '##' on the pieces that continue one.
  ids |= {
    ('' if table.starts_V[i] else '##') + f'p{i}': i for i in range(len(_SPECIAL), table.size)
  }
  tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token='[UNK]')),
    pad_token='[PAD]',
    unk_token='[UNK]',
    cls_token='[CLS]',
    sep_token='[SEP]',
    mask_token='[MASK]',
  )
  special_BL = tokens_BL < len(_SPECIAL)
  if unit == 'token':
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    rows = [{'input_ids': torch.tensor(row)} for row in tokens_BL]
    stacked, special = torch.tensor(tokens_BL), torch.tensor(special_BL)
    return {
      'transformers collator': lambda: collator(rows),
      'the same, fed without dicts': lambda: collator([row['input_ids'] for row in rows]),
      'its torch_mask_tokens alone': lambda: collator.torch_mask_tokens(stacked.clone(), special),
    }
  # For whole words it puts [MASK] alone, with a warning unless these probabilities say so too.
  collator = transformers.DataCollatorForLanguageModeling(
    tokenizer,
    mlm_probability=0.15,
    whole_word_mask=True,
    mask_replace_prob=1.0,
    random_replace_prob=0.0,
  )
  rows = [
    {
      'input_ids': row.tolist(),
      'special_tokens_mask': special.astype(int).tolist(),
      'offset_mapping': offsets,
    }
    for row, special, offsets in zip(tokens_BL, special_BL, _offsets(table, tokens_BL))
  ]
  return {'transformers whole-word collator': lambda: collator(rows)}


def _offsets(table: vocabulary.Table, tokens_BL: np.ndarray) -> list[list[tuple[int, int]]]:
  """Returns a list of (start, end) characters for each row: words are separated by a space."""
  length = 4
  # Every piece has 4 characters; before each that starts a word there is one space more.
  gaps_BL = np.cumsum(np.asarray(table.starts_V)[tokens_BL], axis=1)
  start_BL = gaps_BL + length * np.arange(tokens_BL.shape[1])[None]
  return [[(start, start + length) for start in row] for row in start_BL.tolist()]
