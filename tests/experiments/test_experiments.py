"""Every program of experiments/ runs in a small size, and every sweep can be planned."""

import dataclasses
import pathlib
import runpy

import pytest

from mlm_jax import __main__ as program
from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.sweeps import vectorized_runner
from mlm_jax.tasks import pretraining
from tests import toys

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'experiments'
SWEEPS = sorted(path.parent.name for path in FOLDER.glob('*/sweep.py'))
# The tests here that run a program which is not a sweep.
PROGRAMS = {'families/probe.py', 'families/speed.py', 'known_truth/gap.py'}
TREEBANK = (('badi', 'NOUN'), ('koma', 'VERB'), ('fen', 'DET'), ('.', 'PUNCT'))


def main_of(path):
  """Returns the function main of a program of experiments/."""
  return runpy.run_path(FOLDER / path)['main']


def test_every_program_has_a_test_here():
  programs = {str(path.relative_to(FOLDER)) for path in FOLDER.glob('*/*.py')}
  assert programs == PROGRAMS | {f'{name}/sweep.py' for name in SWEEPS}


@pytest.fixture(scope='module')
def families(tmp_path_factory):
  """A folder with a run of BERT and one with a generator."""
  folder = tmp_path_factory.mktemp('families')
  corpus = toys.write_corpus(folder / 'corpus.txt')
  rtd = dict(objective__name='rtd', objective__generator_width=0.5)
  for name, settings in (('bert', {}), ('electra', {'model__family': 'electra'} | rtd)):
    config = toys.training_config(corpus, total_steps=3, mesh__devices=1, **settings)
    assert pretraining.run(config, folder / 'runs' / name, lambda line: None)
  return folder / 'runs'


@pytest.mark.slow
def test_the_speed_of_families_is_measured(families, capsys):
  main_of('families/speed.py')([str(families), '--repetitions=1'])
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(',')[0] for line in lines[-2:]] == ['bert', 'electra']
  assert 'processor' in lines[-3]


@pytest.mark.slow
def test_the_probe_scores_every_encoder_before_and_after_training(families, tmp_path, capsys):
  lines = [f'{n}\t{word}\t_\t{tag}' for n, (word, tag) in enumerate(TREEBANK, 1)]
  treebank = tmp_path / 'treebank.conllu'
  treebank.write_text('\n\n'.join(['\n'.join(lines)] * 5) + '\n')
  main_of('families/probe.py')([str(families), f'--train={treebank}', f'--test={treebank}'])
  lines = capsys.readouterr().out.splitlines()
  assert [line.split('trained')[0].strip() for line in lines] == [
    'bert',
    'electra',
    'electra, generator',
  ]
  # Each word always has the same tag, and the probe has seen all of them.
  assert all(line.split('trained ')[1].startswith('1.000') for line in lines)


@pytest.mark.slow
def test_the_gap_to_the_optimum_is_measured(tmp_path, capsys):
  main_of('known_truth/gap.py')([f'--workdir={tmp_path}', '--smoke'])
  rows = [
    list(map(float, line.rstrip('% |').strip('| ').split(' | ')))
    for line in capsys.readouterr().out.splitlines()
    if line.startswith('| 0')
  ]
  assert [row[0] for row in rows] == [0.15, 0.3, 0.5]
  # Nothing guesses better than the optimum, and the more is hidden the worse it guesses.
  assert all(optimum < model for _, optimum, model, _ in rows)
  assert rows[0][1] < rows[1][1] < rows[2][1]


def tiny(experiment, corpus):
  """Returns an experiment's Sweep with its base shrunk to seconds."""
  sweep = sweeps.load(FOLDER / experiment)
  small = config_lib.flatten(toys.training_config(corpus, mesh__devices=1))
  of_sweep = config_lib.flatten(sweep.base)
  kept = [key for key in of_sweep if key.startswith('masking.')]
  settings = small | {key: of_sweep[key] for key in kept} | {'data.collocations': 20}
  return dataclasses.replace(sweep, base=config_lib.overlay(config_lib.base(), settings))


@pytest.mark.parametrize('experiment', SWEEPS)
def test_every_sweep_is_planned(experiment, tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  corpus = toys.write_corpus(tmp_path / 'corpus.txt')
  plan = sweeps.plan(tiny(experiment, corpus), experiment, tmp_path / 'sweep', lambda line: None)
  assert len(plan.runs) == 3 * len(plan.arms)
  assert plan.sweep.baseline in plan.arms and plan.sweep.negative_control in plan.arms


def test_a_sweep_is_planned_by_its_command(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  program.main(['sweep', 'experiments/masking_rate', f'--workdir={tmp_path / "sweep"}', '--plan'])
  assert 'How much of a text should be masked?' in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_runs(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  sweep = tiny('masking_rate', toys.write_corpus(tmp_path / 'corpus.txt'))
  two = [run for run in sweep.runs if run['masking.rate'] in (0.15, 0.8) and run['seed'] < 2]
  sweep = dataclasses.replace(sweep, runs=two)
  plan = sweeps.plan(sweep, 'masking_rate', tmp_path / 'sweep', lambda line: None)
  assert vectorized_runner.run(plan, tmp_path / 'sweep', log=lambda line: None)
