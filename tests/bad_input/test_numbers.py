"""Numbers on the command line that mean nothing, given to every command that takes one."""

import shutil

from hypothesis import given
from hypothesis import strategies as st
import pytest

from mlm_jax import config as config_lib
from mlm_jax.training import loop
from tests import shared_runs
from tests.bad_input import finished
from tests.bad_input import hostile

pytestmark = pytest.mark.slow

COMMANDS = (
  ('--step', ['evaluate', '--workdir={run}']),
  ('--step', ['export', '--workdir={run}', '--to={out}']),
  ('--top-k', ['fill', '--workdir={run}', 'a [MASK] b']),
  ('--row', ['mask', '--workdir={run}']),
  ('--visits', ['mask', '--workdir={run}', '--row=0']),
  ('--visits', ['mask', '--text=a b c']),
  ('--seed', ['mask', '--workdir={run}', '--row=0']),
  ('--progress', ['mask', '--workdir={run}', '--row=0']),
  ('--stop-with', ['train', '--workdir={run}']),
  ('--jobs', ['sweep', '{experiment}', '--workdir={sweep}']),
  ('--population', ['sweep', '{experiment}', '--workdir={sweep}']),
  ('--cpus-per-run', ['sweep', '{experiment}', '--workdir={sweep}']),
  ('--gpus-per-run', ['sweep', '{experiment}', '--workdir={sweep}']),
)
# None of them is a step, a row, a count of anything or a seed; most are of no type at all.
NUMBERS = st.sampled_from(
  ['', ' ', 'x', 'nan', 'inf', '-inf', '1e999', '3.7', '-1', '-0x1', '1_', '١٢x', '1' * 5_000]
) | (st.integers(max_value=-1) | st.integers(min_value=2**32)).map(str)
KEYS = sorted(config_lib.flatten(config_lib.base()))
POLICY = [key for key in KEYS if key.startswith('masking.')]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  return shared_runs.from_the_command_line(tmp_path_factory)


@pytest.fixture(scope='module')
def sweep(tmp_path_factory):
  return finished.sweep(tmp_path_factory)


@hostile.drill(120)
@given(of=st.sampled_from(COMMANDS), number=NUMBERS)
def test_of_a_command(run, sweep, tmp_path_factory, of, number):
  flag, command = of
  out = tmp_path_factory.getbasetemp() / 'out'
  places = {
    'run': run,
    'out': out,
    'sweep': sweep / 'work',
    'experiment': sweep / 'experiment',
  }
  before = hostile.names(run), hostile.names(sweep)
  argv = [each.format(**places) for each in command] + [f'{flag}={number}']
  assert hostile.call(argv) == 2
  assert (hostile.names(run), hostile.names(sweep)) == before
  assert not out.exists()


class _Begins(BaseException):
  """Not an Exception, which the code under test might catch."""


@hostile.drill(80)
@given(key=st.sampled_from(KEYS), value=hostile.odd_texts, is_new=st.booleans())
def test_of_a_training(run, tmp_path_factory, monkeypatch, key, value, is_new):
  """Of a run that is finished, and of a new one on its data, up to its first step."""

  def begin(*unused):
    raise _Begins

  monkeypatch.setattr(loop, 'run', begin)
  workdir = tmp_path_factory.getbasetemp() / 'new' if is_new else run
  before, config = hostile.names(run), f'--config={run / "config.json"}'
  argv = ['train', config, f'--workdir={workdir}', f'--config.data.prepared={run / "data"}']
  try:
    hostile.call([*argv, f'--config.{key}={value}'])
  except _Begins:
    pass
  else:
    assert hostile.names(run) == before
    assert not is_new or not workdir.exists()
  if is_new:
    shutil.rmtree(workdir, ignore_errors=True)


@hostile.drill(60)
@given(key=st.sampled_from(POLICY), value=hostile.odd_texts)
def test_of_a_policy_to_score_under(run, key, value):
  before = hostile.names(run)
  hostile.call(['evaluate', f'--workdir={run}', f'--config.{key}={value}'])
  assert hostile.names(run) == before
