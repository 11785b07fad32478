"""Every recipe loads, says what it is, and its smoke variant trains."""

import math
import pathlib

import pytest

from mlm_jax import config as config_lib
from mlm_jax.tasks import pretraining
from mlm_jax.training import logs
from tests import toys

RECIPES = sorted((pathlib.Path(__file__).parents[2] / 'configs').glob('*.py'))


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_its_docstring_gives_command_and_expectation(recipe):
  pretraining.resolve(config_lib.load(recipe))
  text = recipe.read_text()
  for word in (
    f'--config=configs/{recipe.name}',
    f'configs/{recipe.name}:smoke',
    'Expected',
    '--workdir=',
  ):
    assert word in text.split('"""')[1]
  with pytest.raises(config_lib.UserError, match="no variant 'smok'"):
    config_lib.load(f'{recipe}:smok')


@pytest.mark.slow
@pytest.mark.parametrize('recipe', RECIPES, ids=lambda path: path.stem)
def test_the_smoke_variant_of_a_recipe_learns(recipe, tmp_path):
  corpus = toys.write_corpus(tmp_path / 'corpus.txt', documents=1500, words=200)
  config = config_lib.load(
    f'{recipe}:smoke',
    [('data.source', f'text:{corpus}'), ('data.document', 'lines'), ('data.vocab_size', '320')],
  )
  assert pretraining.run(config, tmp_path / 'run', lambda line: None)
  losses = [line['loss'] for line in logs.read_log(tmp_path / 'run', 'metrics')]
  assert losses[-1] < losses[0] - 0.3 and math.isfinite(losses[-1])
