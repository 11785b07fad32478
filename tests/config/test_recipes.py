"""Every recipe loads, says what it is, and its smoke variant trains."""

import math
import pathlib

import pytest

from mlm_jax import config as config_lib
from mlm_jax import tasks
from mlm_jax.config import shipped
from mlm_jax.tasks import pretraining
from mlm_jax.training import logs
from tests import shared_runs
from tests import toys

RECIPES = sorted((pathlib.Path(__file__).parents[2] / 'configs').glob('*.py'))
# Recipes for a model that is trained already: they cannot start without a run.
CONTINUING = ('continued_pretraining', 'adaptation')


def what_it_needs(recipe, tmp_path_factory):
  """Returns the overrides without which a recipe cannot start."""
  if recipe.stem not in CONTINUING:
    return []
  run = shared_runs.to_continue(tmp_path_factory)
  # It has learned for six steps only, so a rate for trained models is too low to see it learn.
  return [('init_from', str(run)), ('optim.learning_rate', '2e-3')]


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_its_docstring_gives_command_and_expectation(recipe, tmp_path_factory):
  pretraining.resolve(config_lib.load(recipe, what_it_needs(recipe, tmp_path_factory)))
  text = recipe.read_text()
  for word in (
    f'--config={recipe.stem}',
    f'--config={recipe.stem}:smoke',
    'Expected',
    '--workdir=',
  ):
    assert word in text.split('"""')[1]
  with pytest.raises(config_lib.UserError, match="no variant 'smok'"):
    config_lib.load(f'{recipe}:smok')


@pytest.mark.slow
@pytest.mark.parametrize('recipe', RECIPES, ids=lambda path: path.stem)
def test_the_smoke_variant_of_a_recipe_learns(recipe, tmp_path, tmp_path_factory):
  corpus = toys.write_corpus(tmp_path / 'corpus.txt', documents=1500, words=200)
  config = config_lib.load(
    f'{recipe}:smoke',
    [
      ('data.source', f'text:{corpus}'),
      ('data.document', 'lines'),
      ('data.vocab_size', '320'),
      *what_it_needs(recipe, tmp_path_factory),
    ],
  )
  assert tasks.of(config).run(config, tmp_path / 'run', lambda line: None)
  losses = [line['loss'] for line in logs.read_log(tmp_path / 'run', 'metrics')]
  assert losses[-1] < losses[0] - 0.3 and math.isfinite(losses[-1])


def test_a_recipe_is_found_by_its_name_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in shipped.names():
    assert shipped.summary(name).endswith('.')
  by_path = config_lib.load(RECIPES[0].parent / 'bert_base.py')
  assert config_lib.to_json(config_lib.load('bert_base')) == config_lib.to_json(by_path)
  assert config_lib.load('bert_base:smoke').total_steps == 60
  # pyrefly: ignore[not-callable]
  assert config_lib('ablation_small', {'masking.rate': 0.3}).masking.rate == 0.3
  with pytest.raises(config_lib.UserError, match="no variant 'smok'"):
    config_lib.load('bert_base:smok')


@pytest.mark.parametrize(
  'name, says',
  (
    ('brt_base', 'did you mean bert_base'),
    ('brt_base:smoke', 'did you mean bert_base'),
    ('configs/bert_base.py', 'did you mean bert_base'),  # where there is no checkout
    ('xyz', 'mlm-jax config --list shows all'),
  ),
)
def test_a_name_of_no_recipe_is_one_line_with_near_ones(tmp_path, monkeypatch, name, says):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(config_lib.UserError, match=says) as error:
    config_lib.load(name)
  assert '\n' not in str(error.value)


def test_a_file_wins_over_a_recipe_of_its_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'bert_base').write_text('')
  with pytest.raises(
    config_lib.UserError, match='bert_base is not a recipe: it must be a .py file'
  ):
    config_lib.load('bert_base')
  (tmp_path / 'bert_base').unlink()
  (tmp_path / 'bert_base').mkdir()  # a folder is none
  assert config_lib.load('bert_base').total_steps == 1_000_000
