"""Scores by segment in a run's folder."""

import types

import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.evaluation import segment_scores


def write(folder, **changes):
  one = np.array([1, 2], np.int32)
  names = 'source_N', 'row_N', 'segment_N', 'tokens_N', 'loss_N', 'hits_N'
  arrays = {'step': np.int64(6)} | dict.fromkeys(names, one) | changes
  files.write_arrays(folder / segment_scores.FILE, types.SimpleNamespace(**arrays))


def test_scores_are_read_at_their_step_alone(tmp_path):
  assert segment_scores.read(tmp_path, 6) is None
  write(tmp_path, loss_N=np.array([0.5, 2.25], np.float32))
  found = segment_scores.read(tmp_path, 6)
  assert found is not None
  assert found.loss_N.tolist() == [0.5, 2.25] and found.tokens_N.tolist() == [1, 2]
  # Of an earlier end of a run that was trained further.
  assert segment_scores.read(tmp_path, 8) is None


def test_a_damaged_file_is_named(tmp_path):
  write(tmp_path)
  whole = (tmp_path / segment_scores.FILE).read_bytes()
  for content in (b'', b'x', whole[:-100], whole[:40]):
    (tmp_path / segment_scores.FILE).write_bytes(content)
    with pytest.raises(config_lib.UserError, match='segment_scores.npz is damaged'):
      segment_scores.read(tmp_path, 6)
  write(tmp_path, row_N=np.zeros(3))
  with pytest.raises(config_lib.UserError, match='its arrays differ in length'):
    segment_scores.read(tmp_path, 6)
