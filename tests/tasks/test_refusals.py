"""What can be known to be wrong without data is refused before any is read."""

import jax
import pytest

from mlm_jax import config as config_lib
from mlm_jax.data import prepare
from mlm_jax.tasks import pretraining
from tests import toys


@pytest.mark.parametrize(
  'settings, says',
  (
    ({'init_from': 'absent'}, 'no run in absent'),
    ({'masking__selection': 'absent_module:Class'}, 'absent_module'),
    ({'masking__selection': 'json:Absent'}, 'json'),
    ({'masking__selection': 'json:JSONDecoder'}, 'json:JSONDecoder'),
    ({'masking__unit': 'span', 'masking__span_max': 10**9}, 'masking.span_max'),
    ({'mesh__data': 3}, 'config.mesh'),
    ({'mesh__devices': 99}, 'config.mesh.devices'),
    ({'mesh__tensor': 2, 'mesh__data': 1, 'model__heads': 1}, 'config.mesh.tensor'),
    ({'batch_size': 3, 'mesh__data': 2}, 'config.batch_size'),
    ({'evaluation__batch_size': 3, 'mesh__data': 2}, 'config.evaluation.batch_size'),
    ({'model__heads': 5}, 'config.model.heads'),
    ({'model__vocab_size': 100}, 'vocab_size'),
    ({'model__width': 10**12}, 'model.width'),
    ({'data__row_length': 4096}, 'config.data.row_length'),
    ({'optim__decay_rules': ((r'token/.*', True),)}, 'decay_rules'),
    ({'optim__warmup_steps': 10**6}, 'config.optim.warmup_steps'),
    ({'stages': ({'steps': 10**6},)}, 'stages'),
    ({'evaluation__rows': -1}, 'config.evaluation.rows'),
    ({'checkpoint__every': 0}, 'config.checkpoint.every'),
  ),
)
def test_a_setting_that_cannot_work_is_refused_before_the_corpus_is_read(
  settings, says, tmp_path, monkeypatch
):
  def read(*args, **kwargs):
    raise AssertionError('the corpus was read')

  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(prepare, 'prepare', read)
  assert len(jax.devices()) == 2
  config = toys.training_config('corpus.txt')
  with config.unlocked():
    for key, value in settings.items():
      group, name = config_lib.find(config, key.replace('__', '.'))
      group[name] = value
  with pytest.raises(config_lib.UserError, match=says):
    pretraining.run(config, tmp_path / 'run', log=lambda line: None)
  assert (
    not (tmp_path / 'run' / 'data').exists() and not (tmp_path / 'run' / 'config.json').exists()
  )
