"""Every program of experiments/ runs in a small size, and every sweep can be planned."""

import csv
import dataclasses
import json
import pathlib
import runpy

import pytest

from mlm_jax import __main__ as program
from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.sweeps import suites
from mlm_jax.sweeps import vectorized_runner
from mlm_jax.tasks import pretraining
from tests import toys

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'experiments'
SUITES = ['transfer']  # several sweeps each, of tasks whose files are not here
SWEEPS = sorted({path.parent.name for path in FOLDER.glob('*/sweep.py')} - {*SUITES})
# The tests here that run a program which is not a sweep.
PROGRAMS = {
  'families/probe.py',
  'families/speed.py',
  'known_truth/gap.py',
  'pair_probabilities/pairs.py',
  'transfer/bag_of_words.py',
  'transfer/data.py',
  'transfer/vectors.py',
}
ASKED = ('masking.', 'objective.', 'model.family', 'model.size')  # what a tiny sweep keeps
TREEBANK = (('badi', 'NOUN'), ('koma', 'VERB'), ('fen', 'DET'), ('.', 'PUNCT'))


def main_of(path):
  """Returns the function main of a program of experiments/."""
  return runpy.run_path(FOLDER / path)['main']


def read(path):
  """Returns the rows of a table as dicts."""
  with path.open(newline='') as file:
    return list(csv.DictReader(file))


def test_every_program_has_a_test_here():
  programs = {str(path.relative_to(FOLDER)) for path in FOLDER.glob('*/*.py')}
  assert programs == PROGRAMS | {f'{name}/sweep.py' for name in (*SWEEPS, *SUITES)}


@pytest.fixture(scope='module')
def families(tmp_path_factory):
  """The folders of a run of BERT and of one with a generator."""
  folder = tmp_path_factory.mktemp('families')
  corpus = toys.write_corpus(folder / 'corpus.txt')
  rtd = dict(objective__name='rtd', objective__generator_width=0.5)
  for name, settings in (('bert', {}), ('electra', {'model__family': 'electra'} | rtd)):
    config = toys.training_config(corpus, total_steps=3, mesh__devices=1, **settings)
    assert pretraining.run(config, folder / 'runs' / name, lambda line: None)
  return [str(folder / 'runs' / name) for name in ('bert', 'electra')]


@pytest.mark.slow
def test_the_speed_of_families_is_measured(families, tmp_path):
  out = tmp_path / 'speed.csv'
  main_of('families/speed.py')([*families, '--repetitions=1', f'--out={out}'])
  bert, electra = read(out)
  assert (bert['run'], electra['run']) == ('bert', 'electra')
  assert float(bert['ratio by processor']) == 1
  assert int(bert['parameters']) < int(electra['parameters'])


@pytest.mark.slow
def test_the_probe_scores_every_encoder_before_and_after_training(families, tmp_path):
  lines = [f'{n}\t{word}\t_\t{tag}' for n, (word, tag) in enumerate(TREEBANK, 1)]
  treebank = tmp_path / 'treebank.conllu'
  treebank.write_text('\n\n'.join(['\n'.join(lines)] * 5) + '\n')
  out = tmp_path / 'probe.csv'
  main_of('families/probe.py')(
    [*families, f'--train={treebank}', f'--test={treebank}', f'--out={out}']
  )
  assert [row['encoder'] for row in read(out)] == ['bert', 'electra', 'electra, generator']
  # Each word always has the same tag, and the probe has seen all of them.
  assert all(float(row['trained']) == 1 for row in read(out))


@pytest.mark.slow
def test_the_gap_to_the_optimum_is_measured(tmp_path):
  out = tmp_path / 'gap.csv'
  main_of('known_truth/gap.py')([f'--workdir={tmp_path}', f'--out={out}', '--smoke'])
  rows = [{name: float(value) for name, value in row.items() if name != 'arm'} for row in read(out)]
  assert [row['rate'] for row in rows] == [0.15, 0.3, 0.5]
  # Nothing guesses better than the optimum, and the more is hidden the worse it guesses.
  assert all(row['optimum'] < row['model'] for row in rows)
  assert rows[0]['optimum'] < rows[1]['optimum'] < rows[2]['optimum']


@pytest.mark.slow
def test_pairs_of_independent_units_are_as_frequent_as_their_product(tmp_path):
  """False-alarm rate below 1e-6 in all: 6 standard errors of three times six ratios."""
  out = tmp_path / 'pairs.csv'
  main_of('pair_probabilities/pairs.py')([f'--out={out}', '--draws=40000'])
  independent = [row for row in read(out) if row['sampler'] == 'independent']
  assert len(independent) == 18
  for row in independent:
    assert abs(float(row['ratio']) - 1) < 6 * max(float(row['standard error']), 0.01)


def tiny(experiment, corpus):
  """Returns an experiment's Sweep with its base shrunk to seconds."""
  sweep = sweeps.load(FOLDER / experiment)
  small = config_lib.flatten(toys.training_config(corpus, mesh__devices=1))
  of_sweep = config_lib.flatten(sweep.base)
  # What is asked stays; a size stands for more than the numbers of the encoder that are made small.
  kept = [key for key in of_sweep if key.startswith(ASKED)]
  # A budget may leave an arm a single step, which has no room for a warm-up.
  more = {'data.collocations': 20, 'optim.warmup_steps': 0}
  settings = small | {key: of_sweep[key] for key in kept} | more
  return dataclasses.replace(sweep, base=config_lib.overlay(config_lib.base(), settings))


@pytest.mark.parametrize('experiment', SWEEPS)
def test_every_sweep_is_planned(experiment, tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  corpus = toys.write_corpus(tmp_path / 'corpus.txt')
  plan = sweeps.plan(tiny(experiment, corpus), experiment, tmp_path / 'sweep', lambda line: None)
  assert len(plan.runs) == 3 * len(plan.arms)
  assert plan.sweep.baseline in plan.arms and plan.sweep.negative_control in plan.arms


def test_each_sweep_of_transfer_is_of_one_task():
  found = suites.load(FOLDER / 'transfer')
  assert len(found) == 9
  for name, sweep in found.items():
    assert name in sweep.base.task.train and name in sweep.base.task.test
    arms = {(run['init_from'], run['task.from_scratch']) for run in sweep.runs}
    assert (len(arms), len(sweep.runs)) == (4, 4 * 3)
    assert {run['seed'] for run in sweep.runs} == {0, 1, 2}


def write_tasks(folder):
  """Writes tasks in the formats that transfer's data is cut from."""
  texts = [f'the text of number {n}' for n in range(30)]
  lines = lambda form: ''.join(form.format(text, n % 2) + '\n' for n, text in enumerate(texts))
  columns = ''.join(f'w{n}\tO\nmore\tB-x\n \t\n' for n in range(20))
  questions = [{'id': str(n), 'question': 'q', 'answers': []} for n in range(4)]
  article = {'title': 'a', 'paragraphs': [{'context': 'c', 'qas': questions}]}
  files = {
    'sst2': dict.fromkeys(('train.tsv', 'dev.tsv'), 'sentence\tlabel\n' + lines('{}\t{}')),
    'ag_news': dict.fromkeys(('subset_train.csv', 'subset_dev.csv'), lines('"{}",{}')),
    'banking77': {'train.csv': 'text,category\n' + lines('{},{}')},
    'stsb': dict.fromkeys(('stsb-en-train.csv', 'stsb-en-dev.csv'), lines('a,{},{}')),
    'rte': {
      'train.tsv': 'n\ta\tb\tc\n' + lines('1\tp "\t{}\t{}'),
      'val.tsv': lines('1\tp\t{}\t{}'),
    },
    'wnut17': dict.fromkeys(('train.conll', 'dev.conll'), columns),
    'crossner/ai': dict.fromkeys(('train.txt', 'dev.txt'), columns),
    'squadshifts': {
      'all.json': json.dumps({'data': [article | {'title': str(n)} for n in range(6)]})
    },
    'cranfield': {'cran.qry': '.I 1\n'},
  }
  for name, contents in files.items():
    (folder / name).mkdir(parents=True)
    for file, text in contents.items():
      (folder / name / file).write_text(text)


def test_the_data_of_transfer_is_cut_and_parted(tmp_path):
  write_tasks(tmp_path / 'source')
  main = main_of('transfer/data.py')
  main.__globals__.update(TRAINING=12, TEST=8)
  main([f'--source={tmp_path / "source"}', f'--out={tmp_path / "out"}'])
  lines = lambda name: (tmp_path / 'out' / name).read_text().splitlines()
  rows = lambda name: [json.loads(line) for line in lines(name)]
  for name in ('sst2', 'ag_news', 'banking77', 'stsb', 'rte'):
    assert (len(rows(f'{name}_train.jsonl')), len(rows(f'{name}_test.jsonl'))) == (12, 8)
  assert {*rows('rte_test.jsonl')[0]} == {'text', 'second_text', 'label'}
  # The published parts of these are the same texts.
  for name in ('sst2', 'ag_news', 'banking77', 'stsb', 'rte'):
    both = [*rows(f'{name}_train.jsonl'), *rows(f'{name}_test.jsonl')]
    assert len({(row['text'], row.get('second_text')) for row in both}) == 12 + 8
  sentences = (
    (tmp_path / 'out' / f'wnut17_{part}.conll').read_text() for part in ('train', 'test')
  )
  assert len({*'\n\n'.join(map(str.strip, sentences)).split('\n\n')}) == 12 + 8
  assert (tmp_path / 'out' / 'wnut17_train.conll').read_text().count('\n\n') == 11
  articles = [
    {each['title'] for each in json.loads((tmp_path / 'out' / name).read_text())['data']}
    for name in ('squadshifts_train.json', 'squadshifts_test.json')
  ]
  assert articles[0] and articles[1] and not articles[0] & articles[1]
  assert (tmp_path / 'out' / 'cranfield' / 'cran.qry').is_file()


@pytest.mark.slow
def test_bags_of_words_find_the_words_that_decide(tmp_path):
  def write(name, rows):
    for part, some in (('train', rows[:40]), ('test', rows[40:])):
      content = ''.join(json.dumps(row) + '\n' for row in some)
      (tmp_path / f'{name}_{part}.jsonl').write_text(content)

  for name in ('sst2', 'ag_news', 'banking77'):  # the label is the first word
    rows = [{'text': f'word{n % 2} other{n % 7}', 'label': str(n % 2)} for n in range(60)]
    write(name, rows)
  # Whether both texts are one, and how many words they share.
  pairs = [(f'a{n % 5} b{n % 3}', f'a{n % 5} b{(n % 3 + n % 2) % 3}', n % 2) for n in range(60)]
  named = [dict(zip(('text', 'second_text', 'label'), map(str, each))) for each in pairs]
  write('rte', named)
  write('stsb', [row | {'score': str(1 - int(row['label']))} for row in named])
  main_of('transfer/bag_of_words.py')([f'--tasks={tmp_path}', f'--out={tmp_path}'])
  scores = {row['task']: float(row['score']) for row in read(tmp_path / 'bag_of_words.csv')}
  assert scores.pop('stsb') > 0.8 and scores == dict.fromkeys(scores, 1.0) and len(scores) == 4


@pytest.mark.slow
def test_vectors_are_asked_for_labels(families, tmp_path):
  # The label is the first word, so every kind of vector that is not blind to words has it.
  for name in ('sst2', 'ag_news', 'banking77'):
    for part, number in (('train', 40), ('test', 20)):
      rows = [
        {'text': f'{"abcd efgh".split()[n % 2]} x', 'label': str(n % 2)} for n in range(number)
      ]
      content = ''.join(json.dumps(row) + '\n' for row in rows)
      (tmp_path / f'{name}_{part}.jsonl').write_text(content)
  main_of('transfer/vectors.py')(
    [f'--runs={families[0]}', f'--tasks={tmp_path}', f'--out={tmp_path}']
  )
  rows = read(tmp_path / 'vectors.csv')
  assert len(rows) == 12 and {row['accuracy'] for row in rows} == {'1.0000'}


def test_a_sweep_is_planned_by_its_command(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  program.main(['sweep', 'experiments/masking_rate', f'--workdir={tmp_path / "sweep"}', '--plan'])
  assert 'How much of a text should be masked?' in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_runs(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  sweep = tiny('masking_rate', toys.write_corpus(tmp_path / 'corpus.txt'))
  two = [run for run in sweep.runs if run['masking.rate'] in (0.15, 0.9) and run['seed'] < 2]
  sweep = dataclasses.replace(sweep, runs=two, contrasts=())
  plan = sweeps.plan(sweep, 'masking_rate', tmp_path / 'sweep', lambda line: None)
  assert vectorized_runner.run(plan, tmp_path / 'sweep', log=lambda line: None)
