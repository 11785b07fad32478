"""Inputs that nobody should give, made at random, and what must come of them."""

import contextlib
import io
import os
import pathlib
import re
import resource
import signal
import traceback

from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st

from mlm_jax import __main__

# MLM_JAX_DRILL=1000 tries more, and others at each call.
DRILL = int(os.environ.get('MLM_JAX_DRILL', '0'))
SECONDS = 120  # that a call may take, most of it to compile
MEBIBYTES = 1_000  # that a call may add to the memory of the process
_LIMIT = 8 << 10  # MiB more at which the system refuses it, before the machine is out of it


def drill(examples):
  """Decorates a property; so many examples of it are tried, the same if not asked for more."""
  return settings(
    max_examples=DRILL or examples,
    derandomize=not DRILL,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
  )


class TooSlow(BaseException):
  """Not an Exception, which the code under test might catch."""


def _memory():
  """Returns [the most memory that the process had, what it has now, what it asked for], MiB."""
  status = pathlib.Path('/proc/self/status').read_text()
  return [
    int(re.search(rf'{key}:\s+(\d+)', status)[1]) >> 10 for key in ('VmHWM', 'VmRSS', 'VmData')
  ]


@contextlib.contextmanager
def bounded(mebibytes=MEBIBYTES):
  """Raises TooSlow in what takes longer than SECONDS; asserts how much memory it takes at most."""

  def stop(number, frame):
    raise TooSlow(f'more than {SECONDS} s: {"".join(traceback.format_stack(frame)[-3:])}')

  before = signal.signal(signal.SIGALRM, stop)
  signal.alarm(SECONDS)
  limits = resource.getrlimit(resource.RLIMIT_DATA)
  resource.setrlimit(resource.RLIMIT_DATA, ((_memory()[2] + _LIMIT) << 20, limits[1]))
  pathlib.Path('/proc/self/clear_refs').write_text('5')  # the most so far is forgotten
  had = _memory()[1]
  try:
    yield
  finally:
    most = _memory()[0] - had
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    resource.setrlimit(resource.RLIMIT_DATA, limits)
    assert most < mebibytes, f'took {most} MiB'


def call(argv, also=(), mebibytes=MEBIBYTES):
  """Calls the program and asserts that it ends as it should; returns its status.

  Args:
    argv: its arguments.
    also: statuses, besides those of done, wrong input and divergence, that it may end with.
    mebibytes: that it may add to the memory of the process.
  """
  out, error, status = io.StringIO(), io.StringIO(), 0
  handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    with bounded(mebibytes), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
      __main__.main(argv)
  except SystemExit as ended:
    status = ended.code or 0
  finally:
    for number, handler in handlers.items():
      signal.signal(number, handler)
  said = error.getvalue()
  assert 'Traceback' not in said, said
  assert status in (0, 2, 3, *also), (status, said)
  if status == 2:
    assert said.count('\n') == 1 and said.startswith('mlm-jax'), said
    assert len(said) < 1_600, said  # a message of 1,500 at most, and who says it
  return status


def names(folder):
  """Returns the files in a folder with their sizes, to see what is left behind."""
  return {
    str(path.relative_to(folder)): path.lstat().st_size
    for path in pathlib.Path(folder).rglob('*')
    if not path.is_dir() or path.is_symlink()
  }


# Texts and values ----------------------------------------------------------------------------

odd_texts = st.sampled_from(
  [
    '',
    ' ',
    '\0',
    '\n',
    '-1',
    '0',
    '1e999',
    'nan',
    '-inf',
    '1' * 400,
    '10**12',
    '2**40',
    '99999999999999999999',
    '3.7',
    'True',
    'None',
    '()',
    '[[[[]]]]',
    '(' * 500,
    '{"a": 1}',
    '$HOME',
    '$\\frac$',
    '../..',
    '/',
    '/dev/null',
    '/proc/self/mem',
    'x' * 5_000,
    '\ud800',
    'é\u0301\u202e',
    'a:b:c',
    'os:system',
    '__import__("os")',
    '=',
    '--',
    '%s%n{}',
  ]
)
odd_texts = odd_texts | st.text(max_size=8) | st.integers().map(str) | st.floats().map(str)

odd_values = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
  lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
  ),
  max_leaves=5,
)
