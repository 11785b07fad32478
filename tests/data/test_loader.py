import collections
import dataclasses
import types
from typing import Any

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import store


def fake(prepared, sizes):
  """Returns a Prepared of sources with so many rows, each row all its own number."""

  def rows(source, n):
    tokens_RL = np.full((n, 4), 1000 * source, np.uint16) + np.arange(n, dtype=np.uint16)[:, None]
    return store.Rows(tokens_RL, np.tile(np.array([0, -1], np.int16), (n, 1)))

  made = tuple(rows(i, n) for i, n in enumerate(sizes))
  # With an id for every number of a row.
  tokenizer: Any = types.SimpleNamespace(size=2**16, pad_id=prepared.tokenizer.pad_id)
  return dataclasses.replace(
    prepared,
    tokenizer=tokenizer,
    train=made,
    validation=made,
    sources=tuple(f's{i}' for i in range(len(sizes))),
  )


def equal(a, b):
  return all(
    np.array_equal(x, y)
    for x, y in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)
  )


def draws(loader, steps):
  """Returns [(source, row, visit)] in order, and checks that the tokens are those of the row."""
  out = []
  for step in range(steps):
    batch = loader.batch(step)
    assert np.array_equal(batch.tokens_BL[:, 0], batch.example_B2 @ np.array([1000, 1]))
    out += [
      (*example, visit) for example, visit in zip(batch.example_B2.tolist(), batch.visit_B.tolist())
    ]
  return out


def test_a_batch_is_a_function_of_data_seed_and_step(prepared):
  loader = loader_lib.Loader(prepared, 'train', 8, seed=5)
  forward = [loader.batch(step) for step in range(30)]
  again = loader_lib.Loader(prepared, 'train', 8, seed=5)
  for step in reversed(range(30)):
    assert equal(again.batch(step), forward[step])
  assert not equal(loader_lib.Loader(prepared, 'train', 8, seed=6).batch(0), forward[0])
  batch = forward[0]
  assert (
    batch.starts_BS.dtype == np.int32 and batch.example_B2.dtype == batch.visit_B.dtype == np.uint32
  )
  assert np.array_equal(batch.tokens_BL, prepared.train[0].tokens_RL[batch.example_B2[:, 1]])
  assert np.array_equal(batch.starts_BS, prepared.train[0].starts_RS[batch.example_B2[:, 1]])


def test_the_order_does_not_depend_on_the_batch_size_or_the_processes(prepared):
  whole = draws(loader_lib.Loader(fake(prepared, [100, 31]), 'train', 12, seed=1), 10)
  assert draws(loader_lib.Loader(fake(prepared, [100, 31]), 'train', 1, seed=1), 120) == whole
  parts = [
    draws(
      loader_lib.Loader(
        fake(prepared, [100, 31]), 'train', 12, 1, local=np.arange(4 * i, 4 * i + 4)
      ),
      10,
    )
    for i in range(3)
  ]
  joined = [each for step in range(10) for part in parts for each in part[4 * step : 4 * step + 4]]
  assert joined == whole


def test_an_epoch_holds_every_row_once_in_an_order_of_its_own(prepared):
  drawn = draws(loader_lib.Loader(fake(prepared, [40, 24]), 'train', 16, seed=3), 12)
  epochs = [drawn[i : i + 64] for i in (0, 64, 128)]
  for number, epoch in enumerate(epochs):
    assert {visit for *_, visit in epoch} == {number}
    assert sorted(epoch) == [(s, r, number) for s, n in ((0, 40), (1, 24)) for r in range(n)]
  orders = [[each[:2] for each in epoch] for epoch in epochs]
  other = [
    each[:2] for each in draws(loader_lib.Loader(fake(prepared, [40, 24]), 'train', 16, seed=4), 4)
  ]
  assert len({tuple(order) for order in [*orders, other, sorted(other)]}) == 5


@pytest.mark.parametrize('small', [0, 1 << 13])  # both ways in which an order is made
def test_a_mixture_keeps_its_shares_and_each_sources_epochs(prepared, monkeypatch, small):
  monkeypatch.setattr(loader_lib, '_SMALL', small)
  loader = loader_lib.Loader(fake(prepared, [3000, 900]), 'train', 50, seed=3, weights=(3, 1))
  drawn = draws(loader, 400)
  for begin in range(0, 20_000, 1000):
    assert abs(sum(s == 0 for s, *_ in drawn[begin : begin + 1000]) - 750) <= 1
  for source, size in ((0, 3000), (1, 900)):
    mine = [(row, visit) for s, row, visit in drawn if s == source]
    for epoch in range(len(mine) // size):
      assert sorted(mine[epoch * size : (epoch + 1) * size]) == [
        (row, epoch) for row in range(size)
      ]
  assert collections.Counter(s for s, *_ in drawn) == {0: 15_000, 1: 5_000}


def test_weights_count_by_their_ratio_alone(prepared):
  drawn = [
    draws(loader_lib.Loader(fake(prepared, [30, 20]), 'train', 10, seed=3, weights=weights), 40)
    for weights in ((3, 1), (3e-300, 1e-300), (1.5e308, 0.5e308))
  ]
  assert drawn[0] == drawn[1] == drawn[2]


def test_a_source_of_weight_0_is_never_drawn(prepared):
  for sizes in ([30, 20, 50], [30, 20, 0]):
    loader = loader_lib.Loader(fake(prepared, sizes), 'train', 50, seed=3, weights=(1, 3, 0))
    assert collections.Counter(s for s, *_ in draws(loader, 200)) == {0: 2500, 1: 7500}
  alone = draws(loader_lib.Loader(fake(prepared, [64, 9]), 'train', 8, seed=3, weights=(1, 0)), 16)
  assert alone == draws(loader_lib.Loader(fake(prepared, [64]), 'train', 8, seed=3), 16)


@pytest.mark.parametrize('exponent', [0.0, 0.3, 0.7])
def test_sampling_alpha_gives_shares_by_size_to_that_power(prepared, exponent):
  sizes = [800, 50, 0, 150]
  loader = lambda: loader_lib.Loader(
    fake(prepared, sizes), 'train', 100, seed=2, sampling_alpha=exponent
  )
  drawn = draws(loader(), 100)
  seen = collections.Counter(s for s, *_ in drawn)
  whole = sum(size**exponent for size in sizes if size)
  for source, size in enumerate(sizes):
    # 10,000 rows are one whole pattern.
    assert abs(seen[source] - 10_000 * (size**exponent / whole if size else 0)) <= 1
    visits = collections.Counter(visit for s, _, visit in drawn if s == source)
    assert all(visits[visit] == size for visit in range(seen[source] // max(size, 1)))
  assert drawn[:1000] == draws(loader(), 10)


def test_sampling_alpha_1_shuffles_all_rows_together(prepared):
  data = fake(prepared, [40, 24])
  drawn = draws(loader_lib.Loader(data, 'train', 16, seed=3, sampling_alpha=1.0), 8)
  rows = [(loader_lib._shuffled(i, 64, 3, 0, epoch), epoch) for epoch in (0, 1) for i in range(64)]
  assert drawn == [(int(row >= 40), row - 40 * (row >= 40), epoch) for row, epoch in rows]
  assert drawn != draws(loader_lib.Loader(data, 'train', 16, seed=3, sampling_alpha=0.999), 8)


@pytest.mark.parametrize('mixture', [{}, {'weights': (3, 1)}, {'sampling_alpha': 0.5}])
def test_another_batch_size_continues_in_the_same_order(prepared, mixture):
  data = fake(prepared, [100, 31])
  whole = draws(loader_lib.Loader(data, 'train', 8, seed=1, **mixture), 40)
  for steps in (1, 5, 20):
    after = loader_lib.Loader(data, 'train', 16, seed=1, begin=8 * steps, **mixture)
    assert draws(after, (40 - steps) // 2) == whole[8 * steps : 8 * steps + (40 - steps) // 2 * 16]


def test_every_row_is_as_likely_first():
  """400 epochs of 20 rows: chi-squared of 19 degrees, above 70 once in 11 million."""
  for rank in (0, 19):
    first = [loader_lib._shuffled(rank, 20, 7, 0, epoch) for epoch in range(400)]
    counts = np.bincount(first, minlength=20)
    assert ((counts - 20) ** 2 / 20).sum() < 70


@pytest.mark.parametrize(
  'arguments, sizes, message',
  [
    (
      dict(batch_size=999),
      [100, 31],
      'too small for one batch: 131 train rows, config.batch_size = 999',
    ),
    (dict(batch_size=9, weights=(1, 1, 1)), [100, 31], 'one for each of the 2 sources'),
    (dict(batch_size=9, weights=('a', 1)), [100, 31], 'must be numbers from 0 on, not all 0'),
    (dict(batch_size=9, weights=(0, 0)), [100, 31], 'must be numbers from 0 on, not all 0'),
    (dict(batch_size=9, weights=(-1, 3)), [100, 31], 'must be numbers from 0 on, not all 0'),
    (dict(batch_size=9, weights=(1, 1)), [100, 0], 'source 2 has no training rows'),
    (dict(batch_size=9, weights=(1, 1e-6)), [100, 9], 'source 2 has less than'),
    (
      dict(batch_size=9, sampling_alpha=0.999),
      [30_000, 1],
      'sampling_alpha = 0.999: source 2 has less than 1 in',
    ),
  ],
)
def test_what_cannot_be_loaded_is_refused(prepared, arguments, sizes, message):
  with pytest.raises(config.UserError, match=message):
    loader_lib.Loader(fake(prepared, sizes), 'train', seed=0, **arguments)


@pytest.mark.parametrize('rows, wanted', [(0, 13), (5, 5), (99, 13)])
@pytest.mark.parametrize('processes', [1, 2])
def test_evaluation_sees_each_row_once_and_fills_up_with_empty_rows(
  prepared, rows, wanted, processes, monkeypatch
):
  monkeypatch.setattr(loader_lib, '_LEAST', 0)
  data = fake(prepared, [8, 5])
  seen = []
  for process in range(processes):
    share = 4 // processes
    loader = loader_lib.EvaluationLoader(
      data, 4, rows, local=np.arange(share * process, share * (process + 1))
    )
    assert len(loader) == -(-wanted // 4)
    for i in range(len(loader)):
      batch = loader.batch(i)
      assert len(batch.tokens_BL) == 4 // processes and not batch.visit_B.any()
      real = batch.starts_BS[:, 0] >= 0
      assert (batch.tokens_BL[~real] == data.tokenizer.pad_id).all() and (
        batch.starts_BS[~real] == -1
      ).all()
      seen += [tuple(each) for each in batch.example_B2[real].tolist()]
  assert len(seen) == len(set(seen)) == wanted
  assert {s for s, _ in seen} == {0, 1}


def validation(loader):
  """Returns the (source, row) pairs of a loader, without its filling."""
  return [
    tuple(pair)
    for i in range(len(loader))
    for batch in [loader.batch(i)]
    for pair in batch.example_B2[batch.starts_BS[:, 0] >= 0].tolist()
  ]


@pytest.mark.parametrize('rows', [0, 40, 300])
def test_the_rows_of_each_source_make_up_those_of_all(prepared, rows):
  data = fake(prepared, [300, 50, 0, 3])
  of_each = [validation(loader_lib.EvaluationLoader(data, 8, rows, source)) for source in range(4)]
  assert sum(of_each, []) == validation(loader_lib.EvaluationLoader(data, 8, rows))
  for source, size in enumerate([300, 50, 0, 3]):
    assert {s for s, _ in of_each[source]} == ({source} if size else set())
    assert len(set(of_each[source])) == len(of_each[source]) >= min(size, 16)
  if not rows:
    assert list(map(len, of_each)) == [300, 50, 0, 3]


def test_of_one_source_as_many_rows_are_evaluated_as_are_asked_for(prepared):
  assert len(validation(loader_lib.EvaluationLoader(fake(prepared, [300]), 8, 5))) == 5


def test_data_without_a_held_out_row_is_refused(prepared):
  with pytest.raises(config.UserError, match='no held-out row'):
    loader_lib.EvaluationLoader(fake(prepared, [0]), 4, 0)


def test_ids_that_the_tokenizer_does_not_have_are_refused(prepared):
  """On the device an index beyond a table would be cut down to it, silently."""
  tokens_RL = np.array(prepared.train[0].tokens_RL)
  tokens_RL[0, 0] = prepared.tokenizer.size
  damaged = tuple(dataclasses.replace(each, tokens_RL=tokens_RL) for each in prepared.train[:1])
  split = dataclasses.replace(prepared, train=damaged, validation=damaged)
  loaders = (
    loader_lib.Loader(split, 'train', len(tokens_RL), 0),
    loader_lib.EvaluationLoader(split, len(tokens_RL)),
  )
  for loader in loaders:
    with pytest.raises(config.UserError, match='its rows hold ids that its tokenizer of'):
      loader.batch(0)
