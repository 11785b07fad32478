"""Continued pretraining: what the recipe leaves open comes from the run in init_from."""

import pytest

from mlm_jax import config as config_lib
from mlm_jax.inference import evaluate
from mlm_jax.tasks import pretraining
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib
from tests import shared_runs
from tests import toys

RECIPE = 'continued_pretraining'
SMALL = [
  ('data.row_length', '16'),
  ('data.document', 'lines'),
  ('data.validation_fraction', '0.1'),
  ('batch_size', '8'),
  ('total_steps', '4'),
  ('optim.warmup_steps', '1'),
  ('evaluation.batch_size', '8'),
  ('evaluation.rows', '16'),
  ('log.trackers', ''),
]

OVERLAID = {
  'data.row_length': 16,
  'data.document': 'lines',
  'data.validation_fraction': 0.1,
  'batch_size': 8,
  'total_steps': 4,
  'optim.warmup_steps': 1,
  'evaluation.batch_size': 8,
  'evaluation.rows': 16,
  'log.trackers': '',
}
NAMES = ((5, 'novels'), (6, 'letters'))


@pytest.fixture(scope='module')
def theirs(tmp_path_factory):
  """The folder of a trained run."""
  return shared_runs.to_continue(tmp_path_factory)


def load(theirs, *settings):
  return config_lib.load(RECIPE, [('init_from', str(theirs)), *SMALL, *settings])


def test_the_recipe_has_the_rates_of_the_literature():
  c = config_lib.load(RECIPE)
  assert (c.optim.learning_rate, c.optim.warmup_steps / c.total_steps) == (5e-5, 0.06)
  assert (c.batch_size, c.data.row_length, c.evaluation.at_start) == (32, 128, True)
  assert config_lib.load(f'{RECIPE}:smoke').optim.learning_rate == 5e-5


@pytest.mark.parametrize('tokenizer', ('', 'bpe'))
def test_without_a_run_to_start_from_it_is_refused_before_any_work(tmp_path, capsys, tokenizer):
  c = config_lib.load(RECIPE, [('data.tokenizer', tokenizer)])
  with pytest.raises(config_lib.UserError, match="config.init_from = '': must be the folder of a"):
    pretraining.run(c, tmp_path / 'run')
  with pytest.raises(config_lib.UserError, match="config.init_from = '': must be the folder of a"):
    pretraining.prepare_data(c, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_a_run_that_is_not_there_is_named(tmp_path):
  with pytest.raises(config_lib.UserError, match='config.init_from = .*absent: no run there'):
    load(tmp_path / 'absent')


def test_model_tokenizer_and_cleaning_are_those_of_the_run_in_full(theirs):
  c, given = load(theirs), workdir_lib.read_config(theirs)
  assert c.model.to_dict() == given.model.to_dict()
  assert c.data.tokenizer == str(theirs / 'tokenizer' / 'tokenizer.model')
  # From Python in the same way.
  again = config_lib.overlay(config_lib.load(RECIPE), {'init_from': str(theirs)} | OVERLAID)
  assert config_lib.to_json(again) == config_lib.to_json(c)


def test_what_is_set_besides_is_kept(theirs, tmp_path):
  c = load(theirs, ('model.dropout', '0.1'), ('data.white_space', 'keep'))
  assert (c.model.dropout, c.data.white_space) == (0.1, 'keep')
  # Before init_from is known, as in a recipe of one's own.
  recipe = tmp_path / 'recipe.py'
  recipe.write_text(
    'from mlm_jax import config\n'
    'def get_config(variant=None):\n'
    "  c = config.load('continued_pretraining').copy_and_resolve_references()\n"
    '  c.model.attention_dropout = 0.3\n'
    '  return c\n'
  )
  c = config_lib.load(recipe, [('init_from', str(theirs)), *SMALL])
  assert (c.model.attention_dropout, c.model.dropout) == (0.3, 0.2)


def test_it_starts_where_the_other_run_ended_and_tells_each_sources_loss(theirs, tmp_path):
  """The score at step 0 is that of the other run on the new text, as `evaluate` finds it."""
  one, other = (toys.write_corpus(tmp_path / f'{name}.txt', 200, seed=n) for n, name in NAMES)
  c = load(theirs, ('data.source', f'text:{one},text:{other}'))
  lines = []
  assert pretraining.run(c, tmp_path / 'run', lines.append)
  first, last = logs.read_log(tmp_path / 'run', 'evaluations')
  assert (first['step'], last['step']) == (0, 4)
  scores = evaluate.evaluate(theirs, data=tmp_path / 'run' / 'data')
  assert first['reference_loss'] == pytest.approx(scores['reference_loss'], rel=1e-5)
  (said,) = [line for line in lines if line.startswith('step 0  held out: ')]
  parts = [f'{name} {first[f"reference_loss_on_{name}"]:.4f}' for _, name in NAMES]
  assert f'({", ".join(parts)})' in said and said.count('(') == 1
  # The config in its folder says all that was open.
  ours = workdir_lib.read_config(tmp_path / 'run')
  assert ours.model.family == 'bert' and ours.data.tokenizer.endswith('tokenizer.model')


def test_a_run_of_one_source_is_told_in_one_number(tmp_path_factory):
  printed = shared_runs.from_the_command_line(tmp_path_factory).with_name('printed.txt').read_text()
  lines = [line for line in printed.splitlines() if 'held out' in line]
  assert lines and not [line for line in lines if '(' in line]
