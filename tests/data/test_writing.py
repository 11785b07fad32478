import os

import numpy as np
import pytest

from mlm_jax.data import store
from mlm_jax.data import writing


@pytest.mark.parametrize('rows', [[0], [1], [3, 0, 12_345_678 // 4000]])
def test_rows_written_in_parts_read_as_one_array(tmp_path, rows):
  writer = writing.ArrayWriter(tmp_path / 'a' / 'rows.npy', 4, np.uint16)
  parts = [np.full((n, 4), i, np.uint16) for i, n in enumerate(rows)]
  for part in parts:
    writer.write(part)
  writer.close()
  assert np.array_equal(np.load(tmp_path / 'a' / 'rows.npy'), np.concatenate(parts))
  assert np.array_equal(store._mapped(tmp_path / 'a' / 'rows.npy'), np.concatenate(parts))


def test_no_other_process_builds_between_the_end_and_the_renaming(tmp_path, monkeypatch):
  rename, locked = os.rename, []
  monkeypatch.setattr(
    os, 'rename', lambda old, new: (locked.append((old / '.lock').exists()), rename(old, new))
  )
  with writing.building(tmp_path / 'data') as folder:
    (folder / 'a').write_text('x')
  assert locked == [True]
  assert [path.name for path in tmp_path.rglob('*')] == ['data', 'a']


def test_what_another_process_builds_after_the_renaming_is_left_alone(tmp_path, monkeypatch):
  rename = os.rename
  monkeypatch.setattr(os, 'rename', lambda old, new: (rename(old, new), old.mkdir()))
  with writing.building(tmp_path / 'data'):
    pass
  assert (tmp_path / 'data.building').exists()


def test_a_closed_output_is_no_failure_to_write(tmp_path):
  with pytest.raises(BrokenPipeError):
    with writing.building(tmp_path / 'new' / 'data'):
      raise BrokenPipeError
  assert not list(tmp_path.iterdir())
