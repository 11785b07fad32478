"""Ways to damage a file of a folder, and a copy of the folder in which one is."""

import contextlib
import json
import math
import os
import pathlib
import shutil

from hypothesis import strategies as st

COPY = 'copy'
_DEEP = b'[' * 100_000
_JSON = (
  b'', b'{', b'null', b'3', b'"x"', b'[]', b'{}', b'[1, {}]', b'{"a": NaN}', b'{"a": 1e999}',
  b'{"step": -Infinity}', b'\xff\xfe{}', b'\xef\xbb\xbf{}', b'{"step": 10e400}', _DEEP,
  b'{"a":' * 5_000, b'{"step": "x"}\n{"step": 1}', b'\0' * 64, b'1' * 5_000,
)  # fmt: skip


def _shortened(path, share):
  content = path.read_bytes()
  path.write_bytes(content[: int(len(content) * share)])


def _flipped(path, share):
  content = bytearray(path.read_bytes())
  for i in range(int(len(content) * share), len(content), max(1, len(content) // 7)):
    content[i] ^= 0x55
  path.write_bytes(bytes(content))


def _a_folder(path, share):
  path.unlink()
  path.mkdir()


def _a_loop(path, share):
  path.unlink()
  path.symlink_to(path.name)


def _dangling(path, share):
  path.unlink()
  path.symlink_to('nowhere')


def _gone(path, share):
  path.unlink()


def _a_pipe(path, share):
  """Who opens it waits for a writer."""
  path.unlink()
  os.mkfifo(path)


def _a_device(path, share):
  """Who reads it reads for ever."""
  path.unlink()
  path.symlink_to('/dev/zero')


def _below_a_file(path, share):
  """A file where the folder was, so that each path into it has a file on the way."""
  folder = path.parent
  if folder.name != COPY:
    shutil.rmtree(folder)
    folder.write_text('x')


def _other_values(path, share):
  """Another number at a place of a JSON file, of a kind that it never has."""
  text = path.read_bytes()
  digits = [i for i, each in enumerate(text) if 48 <= each < 58]
  if digits:
    i = digits[int(share * (len(digits) - 1))]
    odd = (b'-1', b'1e999', b'"x"', b'null', b'[]', b'9' * 30, b'NaN', b'0.5')[int(share * 7.99)]
    path.write_bytes(text[:i] + odd + text[i + 1 :])


def _other_json(path, share):
  path.write_bytes(_JSON[int(share * (len(_JSON) - 0.01))])


def _leaves(value, path=()):
  """Yields the path of each part of a JSON value, the whole of it first."""
  yield path
  parts = (
    value.items()
    if isinstance(value, dict)
    else enumerate(value)
    if isinstance(value, list)
    else ()
  )
  for key, part in parts:
    yield from _leaves(part, (*path, key))


_OTHERS = (
  None,
  True,
  -1,
  0,
  3.7,
  10**9,
  10**30,
  '',
  'x',
  [],
  [[1]],
  {},
  {'a': {}},
  float('nan'),
  -math.inf,
)


def _another_type(path, share):
  """A value of another type somewhere in a JSON file, or in the first line of one of lines."""
  first, _, rest = path.read_bytes().partition(b'\n')
  for head, tail in ((first, rest), (path.read_bytes(), b'')):
    try:
      value = json.loads(head)
    except ValueError:
      continue
    places = list(_leaves(value))
    place, odd = places[int(share * len(places))], _OTHERS[int(share * 1e4) % len(_OTHERS)]
    group = value
    for key in place[:-1]:
      group = group[key]
    if place:
      group[place[-1]] = odd
    else:
      value = odd
    path.write_bytes(json.dumps(value).encode() + b'\n' + tail)
    return


def _a_doubled_key(path, share):
  """A key that an object has twice, with two values; a reader may take either."""
  content = path.read_bytes()
  try:
    value = json.loads(content.partition(b'\n')[0] if path.suffix == '.jsonl' else content)
  except ValueError:
    return
  if isinstance(value, dict) and value:
    key = list(value)[int(share * len(value))]
    again = json.dumps({key: _OTHERS[int(share * 1e4) % len(_OTHERS)]})
    path.write_bytes(again[:-1].encode() + b', ' + content.lstrip()[1:])


def _inserted(path, share):
  """A byte order mark, a NUL and a stray byte in the middle."""
  content = path.read_bytes()
  i = int(len(content) * share)
  path.write_bytes(content[:i] + b'\xef\xbb\xbf\0\xff' + content[i:])


changes = st.sampled_from(
  [
    _another_type,
    _inserted,
    _shortened,
    _flipped,
    _a_folder,
    _a_loop,
    _dangling,
    _gone,
    _a_pipe,
    _a_device,
    _below_a_file,
    _a_doubled_key,
    _other_values,
    _other_json,
  ]
)
shares = st.floats(0, 0.99)


@contextlib.contextmanager
def changed_copy(folder, place, number, change, share):
  """Yields a copy of a folder in `place`, of which a file was changed: that of a number."""
  copy = pathlib.Path(place) / COPY
  shutil.rmtree(copy, ignore_errors=True)
  shutil.copytree(folder, copy, symlinks=True)
  files = sorted(path for path in copy.rglob('*') if path.is_file())
  path = files[number % len(files)]
  change(path, share)
  try:
    yield copy
  except BaseException as error:
    error.add_note(f'{path.relative_to(copy)} was changed by {change.__name__} at {share}')
    raise
  finally:
    shutil.rmtree(copy, ignore_errors=True)
