"""What is of one example lies together where it is said so."""

import types

import numpy as np

from mlm_jax import config
from mlm_jax.data.examples import store

LENGTH = 16


def test_texts_of_an_example_are_neighbours_in_one_row_and_none_is_lost():
  random = np.random.default_rng(0)
  number = np.repeat(np.arange(40, dtype=np.int32), random.integers(1, 4, 40))
  tokens = [
    np.array([1, *random.integers(5, 90, random.integers(0, 3)), 2], np.int32) for _ in number
  ]
  text = np.concatenate([np.arange(n) for n in np.bincount(number)]).astype(np.int8)
  data = config.finetuning().data
  with data.unlocked():
    data.update(row_length=LENGTH, max_segments=7)
  encoded = store.Encoded(
    [], tokens, {'text_BS': text}, {'text_BS': -1}, number=number, together=True
  )
  tokenizer = types.SimpleNamespace(size=100, pad_id=0)
  rows = store.in_memory(encoded, tokenizer, data).splits[store.IN_MEMORY]
  found = {}
  for r in range(len(rows)):
    example_S, text_S = (rows.columns[name][r] for name in ('example_BS', 'text_BS'))
    used = int((example_S >= 0).sum())
    assert used <= 7 and (example_S[used:] == -1).all() and (text_S[used:] == -1).all()
    ends = [*rows.starts_RS[r][1:used], LENGTH]
    for s in range(used):
      one = rows.tokens_RL[r][rows.starts_RS[r][s] : ends[s]]
      found[int(example_S[s]), int(text_S[s])] = (r, s, one[one > 0].tolist())
  assert len(found) == len(number)
  for n, each in enumerate(tokens):
    row, place, one = found[int(number[n]), int(text[n])]
    assert one == each.tolist()
    assert (row, place - int(text[n])) == found[int(number[n]), 0][:2]


def test_an_example_without_pieces_has_its_place_too():
  data = config.finetuning().data
  tokens = [np.array([1, 2], np.int32), np.array([1, 9, 2], np.int32)]
  tokenizer = types.SimpleNamespace(size=100, pad_id=0)
  prepared = store.in_memory(store.Encoded([], tokens, {}, {}), tokenizer, data)
  example_RS = prepared.splits[store.IN_MEMORY].columns[store.EXAMPLE][:]
  assert sorted(example_RS[example_RS >= 0]) == [0, 1]
