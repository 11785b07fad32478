import jax
import numpy as np

from mlm_jax.core import batches

PAD, CLS, SEP = 0, 1, 2
TOKENS_BL = np.array(
  [[CLS, 9, 9, SEP, CLS, 9, SEP, PAD], [CLS, 9, 9, 9, 9, 9, 9, SEP], [PAD] * 8], np.uint16
)
STARTS_BS = np.array([[0, 4, -1], [0, -1, -1], [-1, -1, -1]], np.int32)
segments = jax.jit(batches.segments, static_argnums=2)
positions = jax.jit(batches.positions, static_argnums=1)


def test_rows_of_any_tokenizer_are_one_document_each_under_their_numbers():
  batch = batches.from_rows(TOKENS_BL.astype(np.int64), row_B=[7, 2, 5], visit=4)
  assert np.array_equal(batch.tokens_BL, TOKENS_BL) and batch.tokens_BL.dtype == np.int32
  assert np.array_equal(batches.segments(batch.tokens_BL, batch.starts_BS, PAD), TOKENS_BL != PAD)
  assert batch.example_B2.tolist() == [[0, 7], [0, 2], [0, 5]] and batch.visit_B.tolist() == [4] * 3
  assert batches.from_rows(TOKENS_BL).example_B2.tolist() == [[0, 0], [0, 1], [0, 2]]


def test_segments_count_documents_and_give_padding_zero():
  expected = [[1, 1, 1, 1, 2, 2, 2, 0], [1] * 8, [0] * 8]
  assert np.array_equal(segments(TOKENS_BL, STARTS_BS, PAD), expected)


def test_segments_do_not_depend_on_the_order_of_unused_slots():
  mixed_BS = np.array([[-1, 0, 4], [-1, -1, 0], [-1, -1, -1]], np.int32)
  assert np.array_equal(segments(TOKENS_BL, mixed_BS, PAD), segments(TOKENS_BL, STARTS_BS, PAD))


def test_positions_restart_at_each_segment():
  positions_BL = np.asarray(positions(STARTS_BS, 8))
  assert np.array_equal(positions_BL[:2], [[0, 1, 2, 3, 0, 1, 2, 3], list(range(8))])


def test_positions_and_segments_equal_a_loop_over_random_rows():
  g = np.random.default_rng(0)
  starts_BS = np.stack(
    [np.concatenate([[0], np.sort(g.choice(np.arange(1, 20), 3, False))]) for _ in range(9)]
  )
  tokens_BL = np.full((9, 20), 9)
  segments_BL, positions_BL = np.zeros((2, 9, 20), int)
  for b in range(9):
    for s, (start, end) in enumerate(zip(starts_BS[b], [*starts_BS[b, 1:], 20])):
      segments_BL[b, start:end] = s + 1
      positions_BL[b, start:end] = np.arange(end - start)
  assert np.array_equal(segments(tokens_BL, starts_BS, PAD), segments_BL)
  assert np.array_equal(positions(starts_BS, 20), positions_BL)


def test_everything_but_special_tokens_is_maskable():
  for dtype in (np.uint16, np.int32):
    tokens_BL = TOKENS_BL.astype(dtype)
    expected = ~np.isin(tokens_BL, (PAD, CLS, SEP))
    assert np.array_equal(batches.maskable(tokens_BL, (PAD, CLS, SEP)), expected)
    assert np.array_equal(
      jax.jit(batches.maskable, static_argnums=1)(tokens_BL, (PAD, CLS, SEP)), expected
    )
