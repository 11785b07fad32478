"""Stages: parts of a run that differ in rows, batch or rate, and resume like one."""

import jax
import numpy as np
import pytest

from mlm_jax import __main__
from mlm_jax import config as config_lib
from mlm_jax.data import store
from mlm_jax.inference import predictor as run_lib
from mlm_jax.tasks import pretraining
from mlm_jax.training import logs
from mlm_jax.training import sharding
from tests import toys
from tests.training import toy


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """(the corpus, the folder of its prepared data)"""
  folder = tmp_path_factory.mktemp('stages')
  return toys.write_corpus(folder / 'corpus.txt'), folder / 'data'


@pytest.fixture
def config(data):
  def make(*stages, **settings):
    corpus, folder = data
    return toys.training_config(
      corpus, data__prepared=str(folder), stages=stages, model__dropout=0.1, **settings
    )

  return make


def problem(config):
  mesh = sharding.make_mesh(config.mesh)
  return pretraining.problem(config, pretraining.prepare_data(config, None, toy.silent), mesh)


@pytest.mark.slow
def test_a_run_cut_into_equal_stages_is_the_same_run_bit_for_bit(config, tmp_path):
  pretraining.run(config(), tmp_path / 'one', toy.silent)
  pretraining.run(config({'steps': 3}, {'steps': 1}, {'steps': 2}), tmp_path / 'three', toy.silent)
  toy.assert_equal_runs(tmp_path / 'one', tmp_path / 'three')


@pytest.mark.slow
def test_a_run_stopped_inside_and_between_stages_equals_one_never_stopped(
  config, tmp_path, monkeypatch
):
  c = config(
    {'steps': 3}, {'steps': 3, 'data.row_length': 32, 'batch_size': 4, 'optim.learning_rate': 3e-3}
  )
  assert pretraining.run(c, tmp_path / 'whole', toy.silent)
  for step in (2, 3, 5):
    with toy.stopped_at(step, monkeypatch):
      assert not pretraining.run(c, tmp_path / 'stopped', toy.silent)
  assert pretraining.run(c, tmp_path / 'stopped', toy.silent)
  toy.assert_equal_runs(tmp_path / 'whole', tmp_path / 'stopped')
  timing = logs.read_log(tmp_path / 'whole', 'timing')
  assert len(timing) == 3 and all(line['tokens_per_second'] > 0 for line in timing)


def test_a_growing_batch_continues_in_the_same_order(config):
  """Eight rows a step, then four: each row is met once before any is met twice."""
  steps = 160
  p = problem(
    config(
      {'steps': 20, 'batch_size': 4},
      {'steps': 30},
      {'steps': steps - 50, 'batch_size': 4},
      total_steps=steps,
    )
  )
  rows = [
    tuple(pair)
    for step in range(steps)
    for pair in p.stages[p.stage_at(step)].batch(step).example_B2.tolist()
  ]
  visits = [
    visit
    for step in range(steps)
    for visit in p.stages[p.stage_at(step)].batch(step).visit_B.tolist()
  ]
  assert len(rows) == 20 * 4 + 30 * 8 + 110 * 4 == len(set(rows)) and set(visits) == {0}
  plain = problem(config(total_steps=steps))
  assert rows[:80] == [
    tuple(pair) for step in range(10) for pair in plain.stages[0].batch(step).example_B2.tolist()
  ]


def test_rows_of_another_length_share_the_tokenizer_and_are_beside_the_first(
  config, data, tmp_path
):
  c = config({'steps': 2}, {'steps': 2, 'data.row_length': 32}, {'steps': 2})
  short, long, again = pretraining.prepare_data(c, None, toy.silent)
  assert (short.row_length, long.row_length) == (16, 32) and again is short
  assert short.tokenizer.sha256 == long.tokenizer.sha256
  assert long.directory == data[1].with_name('data_32')
  p = problem(c)
  assert [p.stages[p.stage_at(step)].batch(step).tokens_BL.shape for step in range(6)] == [
    (8, 16),
    (8, 16),
    (8, 32),
    (8, 32),
    (8, 16),
    (8, 16),
  ]
  # The third stage continues where the first stopped.
  first = problem(config())
  np.testing.assert_array_equal(
    p.stages[2].batch(4).example_B2, first.stages[0].batch(2).example_B2
  )


def test_the_held_out_rows_are_those_of_the_last_stage(config):
  staged = problem(config({'steps': 3, 'data.row_length': 32}, {'steps': 3}))
  plain = problem(config())
  params = plain.init(jax.random.key(0))
  assert staged.evaluators['reference'](params, {}, 0.1) == plain.evaluators['reference'](
    params, {}, 0.1
  )


def test_prepared_rows_that_are_not_a_stages_are_refused(config, data, tmp_path):
  pretraining.prepare_data(config(), None, toy.silent)
  c = config({'steps': 3}, {'steps': 3, 'data.row_length': 32, 'data.prepared': str(data[1]) + '/'})
  with pytest.raises(config_lib.UserError, match=r'row_length \(prepared with 16, now 32\)'):
    pretraining.run(c, tmp_path / 'run', toy.silent)
  assert not (tmp_path / 'run').exists()


def test_a_stages_batch_must_fit_the_devices(config, tmp_path):
  with pytest.raises(
    config_lib.UserError,
    match=r'config.stages\[1\]: config.batch_size = 7: must be a multiple of 2',
  ):
    pretraining.run(
      config({'steps': 3}, {'steps': 3, 'batch_size': 7}), tmp_path / 'run', toy.silent
    )


def test_prepare_makes_the_rows_of_every_stage(data, tmp_path):
  recipe = tmp_path / 'recipe.py'
  recipe.write_text(
    'from mlm_jax import config\n'
    'def get_config(variant=None):\n'
    '  c = config.base()\n'
    f"  c.data.update(source='text:{data[0]}', document='lines', vocab_size=320, "
    'validation_fraction=.1)\n'
    "  c.total_steps, c.stages = 8, ({'steps': 4, 'data.row_length': 32}, {'steps': 4})\n"
    '  c.optim.warmup_steps = 1\n'
    '  return c\n'
  )
  workdir = tmp_path / 'prepared'
  __main__.main(['prepare', f'--config={recipe}', f'--workdir={workdir}', '--verify', '--inspect'])
  assert {each.name for each in workdir.iterdir()} == {'data', 'data_32'}
  assert store.open_prepared(workdir / 'data_32').row_length == 32


def test_the_same_stages_given_as_lists_are_the_same_config(config):
  stages = ({'steps': 6, 'masking.corruption_probs': [1, 0, 0], 'data.prepared': 'moved'},)
  tuples = ({'steps': 6, 'masking.corruption_probs': (1, 0, 0)},)
  assert config_lib.differences(config(*stages), config(*tuples)) == []
  assert config_lib.differences(config(*stages), config({'steps': 6}))


def test_a_run_is_used_as_its_last_stage_was(config, tmp_path):
  pretraining.run(
    config({'steps': 3}, {'steps': 3, 'data.row_length': 32, 'masking.rate': 0.9}),
    tmp_path / 'run',
    toy.silent,
  )
  run = run_lib.open_run(tmp_path / 'run')
  text = 'a b c d e f g h i'
  assert 16 < len(run.masked([text])[0]) <= 32
  assert run.embed([text]).shape == (1, 32)
  assert sum(piece.action != '' for piece in run.masked([text])[0]) > 8
