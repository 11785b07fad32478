import pytest

from mlm_jax import config
from mlm_jax.data.corpus import files


def test_links_to_nothing_are_not_files(tmp_path):
  (tmp_path / 'a.txt').write_text('a')
  (tmp_path / 'b.txt').symlink_to('a.txt')
  (tmp_path / 'c.txt').symlink_to('absent')
  (tmp_path / 'd.txt').mkdir()
  assert files.find(f'{tmp_path}/*.txt') == [f'{tmp_path}/a.txt', f'{tmp_path}/b.txt']
  assert files.not_files(f'{tmp_path}/*.txt') == [f'{tmp_path}/c.txt']


def test_a_name_with_brackets_is_taken_before_a_glob(tmp_path):
  (tmp_path / 'a[1].txt').write_text('a')
  (tmp_path / 'a1.txt').write_text('b')
  assert files.find(f'{tmp_path}/a[1].txt') == [f'{tmp_path}/a[1].txt']
  (tmp_path / 'a[1].txt').unlink()
  assert files.find(f'{tmp_path}/a[1].txt') == [f'{tmp_path}/a1.txt']


@pytest.mark.parametrize('size', [0, 10, 1 << 20, (1 << 20) + 10, (2 << 20) + 10])
def test_an_edit_at_either_end_is_noticed(tmp_path, size):
  path = tmp_path / 'a.txt'
  seen = set()
  for at in (None, 0, -1):
    data = bytearray(size)
    if at is not None and size:
      data[at] = 1
    path.write_bytes(data)
    seen.add(files.described(str(path)))
  assert len(seen) == (3 if size else 1) and {entry[1] for entry in seen} == {size}


def test_a_glob_is_sorted_and_one_without_a_match_is_refused(tmp_path):
  for name in ('b.txt', 'a.txt', 'c.md'):
    (tmp_path / name).write_text(name)
  assert [p.split('/')[-1] for p in files.find(f'{tmp_path}/*.txt')] == ['a.txt', 'b.txt']
  with pytest.raises(config.UserError, match='matches no file'):
    files.find(f'{tmp_path}/*.zip')
  with pytest.raises(config.UserError, match='is a folder'):
    files.find(str(tmp_path))
