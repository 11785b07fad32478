"""What comes from somewhere is read as a whole or refused in a line, and nothing waits for it."""

import json
import os
import signal

import pytest

from mlm_jax import config as config_lib


class Waits(BaseException):
  """Not an Exception, which the code under test might catch."""


@pytest.fixture(autouse=True)
def not_long():
  """Ends what waits, as for a pipe."""

  def stop(*unused):
    raise Waits

  before = signal.signal(signal.SIGALRM, stop)
  signal.alarm(10)
  yield
  signal.alarm(0)
  signal.signal(signal.SIGALRM, before)


def refused(call, *arguments):
  with pytest.raises(config_lib.UserError) as error:
    call(*arguments)
  return str(error.value)


@pytest.mark.parametrize('call', [config_lib.read_bytes, config_lib.check_file])
def test_only_files_are_read(tmp_path, call):
  path = tmp_path / 'a'
  assert refused(call, path) == f'cannot read {path}: No such file or directory'
  os.mkfifo(path)
  assert 'it is a pipe or a device' in refused(call, path)
  path.unlink()
  path.symlink_to('/dev/zero')
  assert 'it is a pipe or a device' in refused(call, path)
  assert 'Is a directory' in refused(call, tmp_path)
  path.unlink()
  path.write_bytes(b'x')
  assert call(path) in (b'x', None)
  assert 'Not a directory' in refused(call, path / 'below')


@pytest.mark.parametrize(
  'text, says',
  [
    ('{"a": 1, "b": {"c": 1, "d": 2, "c": 1}}', "the key 'c' twice"),
    ('[' * 100_000, 'nested too deeply'),
    ('{"a": NaN}', 'NaN is no number'),
    ('[-Infinity]', '-Infinity is no number'),
    ('[1e999]', '1e999 is no number'),
    ('{', 'line 1'),
    (b'\xff\xff', 'decode'),
  ],
)
def test_what_json_does_not_say_for_sure_is_refused(text, says):
  with pytest.raises(ValueError, match=says):
    config_lib.parse_json(text)


def test_all_else_is_as_json_has_it():
  value = {'a': [1, 2.5, None, {'b': 'ä', '': True}], 'c': 1e300}
  assert config_lib.parse_json(json.dumps(value)) == value
  assert config_lib.parse_json('[NaN]', finite=False)[0] != 0


def test_a_config_that_says_a_setting_twice_is_refused(tmp_path):
  text = config_lib.to_json(config_lib.base())
  path = tmp_path / 'config.json'
  path.write_text(text.replace('"seed": 0', '"seed": 0, "seed": 1'))
  assert "config.json is damaged: an object has the key 'seed' twice" in refused(
    config_lib.load, path
  )


@pytest.mark.parametrize('path', ['', '\0', 'x' * 300, None, 3, b'a', ['a']])
def test_what_is_no_path_is_refused(path):
  assert 'workdir = ' in refused(config_lib.check_folder, 'workdir', path)
