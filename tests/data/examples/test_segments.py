"""A text or a pair fits a row; of a pair the longer text is cut first."""

import itertools

import numpy as np

from mlm_jax.data.examples import segments


def longest_first(lengths, room):
  """Token by token, as the definition says; of equal ones the first text loses one first."""
  kept = list(lengths)
  while sum(kept) > room:
    kept[kept.index(max(kept))] -= 1
  return kept


def test_parts_are_cut_as_token_by_token():
  for a, b, room in itertools.product(range(9), range(9), range(2, 12)):
    kept = segments._fit([a, b], room)
    expected = longest_first([a, b], room)
    assert sum(kept) == sum(expected) and sorted(kept) == sorted(expected), (a, b, room)
    assert all(k <= n for k, n in zip(kept, [a, b]))


class Letters:
  """A tokenizer of a piece a letter."""

  cls_id, sep_id = 1, 2

  def encode_batch(self, texts):
    return [np.array([ord(each) for each in text], np.int32) for text in texts]


def test_special_tokens_stand_around_and_between():
  from mlm_jax import config

  data = config.finetuning().data
  with data.unlocked():
    data.row_length = 8
  found, cut = segments.encode([('ab',), ('ab', 'c'), ('abcdefgh', 'xy')], Letters(), data)
  codes = lambda text: [ord(each) for each in text]
  assert [each.tolist() for each in found] == [
    [1, *codes('ab'), 2],
    [1, *codes('ab'), 2, *codes('c'), 2],
    [1, *codes('abc'), 2, *codes('xy'), 2],
  ]
  assert cut == 1
  (found,), _ = segments.encode([('a', 'b')], Letters(), data, seps=2)
  assert found.tolist() == [1, *codes('a'), 2, 2, *codes('b'), 2]


def test_texts_alone_are_cut_to_what_each_may_have():
  from mlm_jax import config

  found, cut = segments.encode_alone(['ab', 'abcdef', ''], Letters(), config.finetuning().data, 5)
  codes = lambda text: [ord(each) for each in text]
  assert [each.tolist() for each in found] == [[1, *codes('ab'), 2], [1, *codes('abc'), 2], [1, 2]]
  assert cut == 1
