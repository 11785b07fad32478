"""What is of pretraining alone refuses a config of fine-tuning in one line."""

import pytest

from mlm_jax import config as config_lib
from mlm_jax.tasks import population
from tests.cli.test_main import call
from tests.report import fake_tasks


@pytest.mark.parametrize(
  'argv, says',
  (
    (('prepare', '--workdir=DIR'), 'mlm-jax prepare is of pretraining'),
    (('mask', '--text=a text'), 'masks nothing'),
    (('train', '--dry-run', '--workdir=DIR'), 'mlm-jax train --dry-run is of pretraining'),
  ),
)
def test_commands_of_pretraining_refuse_it(tmp_path, capsys, argv, says):
  path = tmp_path / 'config.json'
  path.write_text(config_lib.to_json(fake_tasks.config()))
  argv = [each.replace('DIR', str(tmp_path / 'run')) for each in argv]
  status, _, error = call(capsys, *argv, f'--config={path}')
  assert status == 2 and says in error and error.count('\n') == 1
  assert not (tmp_path / 'run').exists()


def test_fine_tuned_runs_are_no_population():
  configs = {f'seed={seed}': fake_tasks.config(seed=seed) for seed in range(2)}
  with pytest.raises(config_lib.UserError, match='one after another'):
    population.check(configs)
