"""A sweep's folder: what it says was swept, what may be added or changed, and which sweeps are
refused.
"""

import json

import pytest

from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.sweeps import layout as folder_lib
from mlm_jax.training import workdir as workdir_lib
from tests import toys
from tests.sweeps import experiments
from tests.sweeps.actors import Actor
from tests.sweeps.actors import make
from tests.sweeps.experiments import NAMES

pytestmark = pytest.mark.usefixtures('quick')


def test_the_folder_says_what_was_swept(tmp_path):
  arms = [{'masking.rate': 0.15, 'masking.corruption_probs': (1.0, 0.0, 0.0)}, {'batch_size': 4}]
  runs = sweeps.product(arms, sweeps.seeds(2))
  make(tmp_path, Actor(), runs, negative_control='batch_size=4')
  written = json.loads((tmp_path / 'sweep.json').read_text())
  runs = written.pop('runs')
  masking = lambda **settings: json.loads(config_lib.to_json(toys.config(**settings)))['masking']
  assert written == {
    'question': 'Does the rate matter?',
    'experiment': 'experiments/rate',
    'budget': 'tokens',
    'baseline': 'rate=0.15_corruption_probs=1.0-0.0-0.0',
    'negative_control': 'batch_size=4',
    'metric': 'reference_loss',
    'direction': 'min',
    'policies': {
      'rate=0.15_corruption_probs=1.0-0.0-0.0': masking(masking__corruption_probs=(1.0, 0.0, 0.0)),
      'base': masking(),
    },
    'contrasts': [],
    'contrasts_before_results': [],
    'judges': [],
  }
  assert runs[3] == {
    'name': 'batch_size=4_seed=1',
    'arm': 'batch_size=4',
    'seed': 1,
    'settings': {'batch_size': 4, 'seed': 1},
    'total_steps': 12,
  }
  base = config_lib.from_json((tmp_path / 'base.json').read_text())
  for run in runs:
    config = config_lib.overlay(base, run['settings'] | {'total_steps': run['total_steps']})
    assert not config_lib.differences(
      config, workdir_lib.read_config(tmp_path / 'runs' / run['name'])
    )


def test_runs_may_be_added_and_others_are_left_alone(tmp_path):
  rates = lambda *rates: sweeps.param('masking.rate', rates)
  make(tmp_path, Actor(), rates(0.15, 0.3))
  actor = Actor()
  assert make(tmp_path, actor, rates(0.15, 0.5))[0] and actor.started == ['rate=0.5_seed=0']
  assert folder_lib.others(experiments.plan(tmp_path, rates(0.15, 0.5)), tmp_path) == [
    'rate=0.3_seed=0'
  ]


@pytest.mark.parametrize(
  'runs, base, says',
  (
    (
      None,
      toys.config(model__width=64),
      f'in run {NAMES[0]} config.model.width is 64 here, 32 there',
    ),
    (None, toys.config(total_steps=8), 'config.total_steps is 8 here, 6 there'),
    (sweeps.param('masking.rate', [0.2]), None, 'it has none of these runs'),
  ),
)
def test_a_folder_of_another_sweep_is_refused(tmp_path, runs, base, says):
  make(tmp_path, Actor())
  before = (tmp_path / 'sweep.json').read_text()
  with pytest.raises(config_lib.UserError, match='holds another sweep') as error:
    make(tmp_path, Actor(), runs, base)
  assert says in str(error.value) and (tmp_path / 'sweep.json').read_text() == before


def test_what_never_started_may_change(tmp_path):
  assert not make(tmp_path, Actor({name: [2] for name in NAMES}))[0]
  assert make(tmp_path, Actor(), base=toys.config(model__width=64))[0]
  assert workdir_lib.read_config(tmp_path / 'runs' / NAMES[0]).model.width == 64


def test_where_a_run_is_logged_or_computed_may_change_until_it_is_done(tmp_path):
  make(tmp_path, Actor({NAMES[1]: [2]}))
  assert make(tmp_path, Actor(), base=toys.config(log__every=3))[0]
  every = [workdir_lib.read_config(tmp_path / 'runs' / name).log.every for name in NAMES[:2]]
  assert every == [2, 3]


@pytest.mark.parametrize(
  'name, text',
  (
    ('sweep.json', '{"runs": [3]}'),
    ('sweep.json', '{'),
    ('sweep.json', '3'),
  ),
)
def test_a_damaged_file_is_named(tmp_path, name, text):
  make(tmp_path, Actor())
  (tmp_path / name).write_text(text)
  with pytest.raises(config_lib.UserError, match=f'{name} is damaged'):
    make(tmp_path, Actor())


def test_a_damaged_status_is_written_again_from_the_folders(tmp_path):
  make(tmp_path, Actor())
  before = (tmp_path / 'status.json').read_text()
  (tmp_path / 'status.json').write_text('[1]')
  assert make(tmp_path, Actor())[0]
  states = lambda text: {name: each['state'] for name, each in json.loads(text).items()}
  assert states((tmp_path / 'status.json').read_text()) == states(before)


def test_two_sweeps_cannot_be_at_work_in_one_folder(tmp_path):
  with workdir_lib.locked(tmp_path):
    with pytest.raises(config_lib.UserError, match='another process is at work'):
      make(tmp_path, Actor())


def test_wrong_data_leaves_nothing_behind(tmp_path, monkeypatch):
  monkeypatch.undo()
  base = toys.config(data__source='text:absent/*.txt')
  with pytest.raises(config_lib.UserError, match=r'run rate=0.15_seed=0: .*absent/\*.txt'):
    make(tmp_path / 'sweep', Actor(), base=base)
  assert not list(tmp_path.iterdir())
