"""Plans: what cannot work is refused with the run's name before anything starts."""

import pathlib

import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.sweeps import names
from tests import toys
from tests.sweeps import experiments


def names_of(runs, **settings):
  return [run.name for run in experiments.plan('w', runs, **settings).runs]


def test_runs_are_named_by_what_was_set_and_their_seed():
  assert names_of(
    sweeps.product(
      sweeps.param('masking.unit', ['word']), sweeps.param('masking.rate', [0.3]), sweeps.seeds([4])
    )
  ) == ['unit=word_rate=0.3_seed=4']
  runs = sweeps.chain([{}], sweeps.param('masking', ['spanbert']))
  assert names_of(runs) == ['base_seed=0', 'masking=spanbert_seed=0']


def test_a_key_is_written_out_where_its_last_part_names_two():
  runs = [{'optim.schedule': 'cosine'}, {'masking.schedule': 'linear', 'masking.final_rate': 0.3}]
  assert names_of(runs) == [
    'optim.schedule=cosine_seed=0',
    'masking.schedule=linear_final_rate=0.3_seed=0',
  ]


def test_names_are_safe_and_short_and_distinguish_long_values():
  paths = ['text:/a/' + 'b' * 400 + '/*.txt', 'text:/a/' + 'b' * 400 + '/*.gz']
  made = names_of(sweeps.param('data.source', paths))
  assert len(set(made)) == 2
  for name in made:
    assert len(name) < 80 and pathlib.Path(name).name == name
    assert not set(name) & set(' /:*\\"\'()')
  settings = {f'group.key{i}': 'x' * 30 for i in range(40)}
  assert len(names.run(names.arm(settings, list(settings)), 0)) < 200


@pytest.mark.parametrize(
  'key, values',
  (
    ('data.source', ['text:/é/*.txt', 'text:/ü/*.txt']),
    ('data.field', ['a b', 'a-b']),
    ('data.field', ['A b', 'a b']),
  ),
)
def test_names_distinguish_what_they_had_to_change(key, values):
  made = names_of(sweeps.param(key, values))
  assert len({name.casefold() for name in made}) == 2


def test_names_that_differ_only_in_case_are_refused():
  with pytest.raises(config_lib.UserError) as error:
    names_of(sweeps.param('data.field', ['Text', 'text']))
  assert 'two runs have the name field=text_seed=0, except for letter case' in str(error.value)


def test_numbers_of_numpy_are_settings():
  assert names_of(
    sweeps.product(
      sweeps.param('masking.rate', np.linspace(0.25, 0.5, 2)), sweeps.seeds(np.arange(2))
    )
  ) == [f'rate={rate}_seed={seed}' for rate in (0.25, 0.5) for seed in range(2)]


def test_the_runs_are_the_base_with_their_settings_laid_over():
  settings = {
    'masking.rate': 1,
    'masking.corruption_probs': [0.5, 0.25, 0.25],
    'optim.warmup_steps': 1,
  }
  config = experiments.plan('w', [settings]).runs[0].config
  assert (config.masking.rate, config.masking.corruption_probs, config.optim.warmup_steps) == (
    1.0,
    (0.5, 0.25, 0.25),
    1,
  )
  differing = [key for key, _, _ in config_lib.differences(config, toys.config())]
  assert differing == ['masking.corruption_probs', 'masking.rate', 'optim.warmup_steps']


@pytest.mark.parametrize(
  'settings',
  ({'masking': 'spanbert', 'masking.rate': 0.4}, {'masking.rate': 0.4, 'masking': 'spanbert'}),
)
def test_a_preset_comes_before_settings_of_its_group_wherever_it_is(settings):
  base = toys.config(masking__static_copies=7, masking__replacement_distribution='frequency')
  masking = experiments.plan('w', [settings], base).runs[0].config.masking
  assert (masking.unit, masking.rate, masking.static_copies, masking.replacement_distribution) == (
    'span',
    0.4,
    0,
    'uniform',
  )


RATES = [{'masking.rate': 0.15}, {'masking.rate': 0.3}]


@pytest.mark.parametrize(
  'runs, settings, says',
  (
    (
      [{'masking.rat': 0.3}],
      {},
      'run rat=0.3_seed=0: unknown setting config.masking.rat; did you mean config.masking.rate?',
    ),
    ([{'masking.rate': '0.3'}], {}, "config.masking.rate = '0.3': must be of type float"),
    ([{'batch_size': 8.0}], {}, 'config.batch_size = 8.0: must be of type int'),
    ([{'batch_size': True}], {}, 'config.batch_size = True: must be of type int'),
    (
      [{'masking.rate': 1.5}],
      {},
      'run rate=1.5_seed=0: config.masking.rate = 1.5: must be between 0 and 1',
    ),
    ([{'masking.rate': float('nan')}], {}, 'a finite number'),
    ([{'model.heads': 3}], {}, 'config.model.heads = 3: must divide'),
    ([{'masking': 'spanbrt'}], {}, 'did you mean spanbert?'),
    ([{'masking': 3}], {}, "no masking preset '3'"),
    ([{'model': 'x'}], {}, 'config.model is a group'),
    ([{'seed': -1}], {}, 'config.seed = -1'),
    ([{'seed': 'x'}], {}, 'must be of type int'),
    (RATES + RATES[:1], {}, 'two runs have the name rate=0.15_seed=0'),
    ([{'masking': 'roberta'}, {}], {}, 'masking=roberta_seed=0 and base_seed=0 are the same'),
    ([{'masking.rate': 1}, {'masking.rate': 1.0}], {}, 'are the same'),
    (
      RATES + [{'masking.rate': 0.3, 'seed': 1}],
      {},
      'the arms rate=0.15 and rate=0.3 must have the same seeds to be compared in pairs; seed 1',
    ),
    (
      RATES,
      {'baseline': 'rate=0.2'},
      "baseline = 'rate=0.2': there is no such arm; did you mean 'rate=0.3'?",
    ),
    (RATES, {'negative_control': 'x'}, "negative_control = 'x': there is no such arm"),
    (RATES, {'negative_control': 'rate=0.15'}, 'must be another arm than the baseline'),
  ),
)
def test_what_cannot_work_is_refused_with_the_runs_name(runs, settings, says):
  with pytest.raises(config_lib.UserError) as error:
    experiments.plan('w', runs, **settings)
  assert says in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
  'body, says',
  (
    ('return 3', 'get_sweep returned 3; it must return a sweeps.Sweep'),
    ("return sweeps.Sweep(base=None, runs=[{}], question='?')", 'base = None: must be a config'),
    (
      'c = config.base()\nc.unlock()\ndel c.seed\nreturn sweeps.Sweep(base=c, runs=[{}], '
      "question='?')",
      'base: config.seed is missing',
    ),
    (
      "return sweeps.Sweep(base=config.base(), runs=[], question='?')",
      'runs: must be a list of one dict',
    ),
    (
      "return sweeps.Sweep(base=config.base(), runs={'seed': 1}, question='?')",
      'runs: must be a list',
    ),
    (
      "return sweeps.Sweep(base=config.base(), runs=[{1: 1}], question='?')",
      'runs: must be a list',
    ),
    (
      "return sweeps.Sweep(base=config.base(), runs=[{}], question=' ')",
      "question = ' ': must be a sentence",
    ),
    (
      "return sweeps.Sweep(base=config.base(), runs=[{}], question='?', budget='hours')",
      "budget = 'hours': must be one of tokens, predictions, flops",
    ),
    ('return sweeps.Sweep(base=config.base(), runs=[{}])', 'sweep.py line 6: TypeError'),
    ('return sweeps.seeds(0)', 'needs a list of values'),
    ('return 1 / 0', 'sweep.py line 6: ZeroDivisionError: division by zero'),
    ('raise SystemExit(3)', 'sweep.py line 6: SystemExit: 3'),
  ),
)
def test_a_file_that_gives_no_sweep_says_where(tmp_path, body, says):
  folder = experiments.write(tmp_path / 'experiment', body)
  with pytest.raises(config_lib.UserError) as error:
    sweeps.load(folder)
  assert says in str(error.value) and str(folder / 'sweep.py') in str(error.value)
  assert '\n' not in str(error.value)


def test_a_folder_without_a_sweep_says_so(tmp_path):
  with pytest.raises(config_lib.UserError, match='no such experiment: .*sweep.py is missing'):
    sweeps.load(tmp_path / 'absent')
  (tmp_path / 'sweep.py').write_text('def get_config(): pass')
  with pytest.raises(config_lib.UserError, match=r'has no get_sweep\(\)'):
    sweeps.load(tmp_path)


def test_the_file_in_place_of_its_folder_is_reported(tmp_path):
  folder = experiments.write(tmp_path / 'experiment', 'return 3')
  with pytest.raises(config_lib.UserError) as error:
    sweeps.load(folder / 'sweep.py')
  assert f'sweep.py is a file: give the folder that sweep.py is in, {folder}' in str(error.value)


def test_runs_share_the_data_of_equal_settings_and_seeds_do_not_matter(tmp_path):
  runs = sweeps.product(
    sweeps.param('data.row_length', [16, 32]),
    sweeps.param('data.weights', [(), (1.0,)]),
    sweeps.seeds(2),
  )
  folders = [run.config.data.prepared for run in experiments.plan(tmp_path, runs).runs]
  assert folders[:4] == [str(tmp_path / 'data')] * 4
  assert len(set(folders[4:])) == 1 and folders[4].startswith(f'{tmp_path}/data_')
  assert folders[4:] == [
    run.config.data.prepared for run in experiments.plan(tmp_path, runs[4:]).runs
  ]


def test_a_folder_of_data_that_the_base_names_is_kept():
  plan = experiments.plan('w', base=toys.config(data__prepared='mine'))
  assert {run.config.data.prepared for run in plan.runs} == {'mine'}


def test_the_first_arm_is_the_baseline_where_none_is_named():
  assert experiments.plan('w').sweep.baseline == 'rate=0.15'
  assert experiments.plan('w', baseline='rate=0.3').sweep.baseline == 'rate=0.3'


def test_a_plan_does_not_depend_on_the_order_in_a_dict():
  settings = {'masking.rate': 0.3, 'batch_size': 4}
  turned = dict(reversed(settings.items()))
  one, other = (experiments.plan('w', [each]).runs[0] for each in (settings, turned))
  assert config_lib.to_json(one.config) == config_lib.to_json(other.config)
