"""Every finished run is judged by each judge, once, in the same way; what cannot be is refused
before any run is trained."""

import json
import pathlib
import shutil

import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.evaluation import judgements
from mlm_jax.inference import zero_shot as of_runs
from mlm_jax.sweeps import judging
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import plan_text
from mlm_jax.sweeps import planning
from mlm_jax.sweeps.judges import zero_shot as judge_of_suites
from mlm_jax.tasks import finetuning
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib
from tests import shared_runs
from tests.inference import test_zero_shot
from tests.sweeps import experiments
from tests.tasks import test_finetuning

_RUNS = sweeps.product(sweeps.param('optim.learning_rate', [1e-2, 2e-2]), sweeps.seeds(2))
_SMALL = {
  'data.row_length': 16,
  'data.max_segments': 3,
  'batch_size': 8,
  'evaluation.batch_size': 8,
  'total_steps': 2,
  'log.trackers': '',
}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  return shared_runs.from_the_command_line(tmp_path_factory)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """Returns a folder with what judges read."""
  folder, corpus = tmp_path_factory.mktemp('data'), shared_runs.corpus(tmp_path_factory)
  test_zero_shot.write(folder / 'pairs.jsonl', *test_zero_shot.PAIRS)
  choice = {'sentence': 'a cab _ fed', 'option1': 'bad', 'option2': 'hi', 'answer': '2'}
  test_zero_shot.write(folder / 'choices.jsonl', choice, choice | {'answer': '1'})
  (folder / 'texts.txt').write_text('a cab\na bad cab fed\n')
  (folder / 'tags').mkdir()
  for name in ('train', 'test'):
    words = ''.join(f'{word} {tag}\n' for word, tag in (('a', 'X'), ('cab', 'Y'), ('bad', 'X')))
    (folder / 'tags' / f'{name}.conll').write_text(f'{words}\n{words}')
  for name in ('patterns', 'facts'):
    (folder / 'facts' / name).mkdir(parents=True)
  test_zero_shot.write(folder / 'facts' / 'patterns' / 'P1.jsonl', {'pattern': '[X] fed [Y] a'})
  facts = [{'sub_label': f'mo{n}', 'obj_label': each} for n, each in enumerate(('bad', 'cab'))]
  test_zero_shot.write(folder / 'facts' / 'facts' / 'P1.jsonl', *facts)
  test_finetuning.write_examples(folder / 'train.csv', corpus, 40)
  test_finetuning.write_examples(folder / 'test.csv', corpus, 20, seed=1)
  return folder


def fine_tuned(data, metric=None, **settings):
  files = {'task.train': str(data / 'train.csv'), 'task.test': str(data / 'test.csv')}
  given = {**_SMALL, **files, **{k.replace('__', '.'): v for k, v in settings.items()}}
  return sweeps.FineTuned('finetune/classification', given, metric)


def pairs(data, metric='accuracy', subset=None):
  return sweeps.ZeroShot(f'minimal_pairs:{data / "pairs.jsonl"}', metric, subset)


def plan(folder, base, judges, runs=_RUNS):
  return experiments.plan(folder, runs, base, judges=judges)


@pytest.fixture
def base(run):
  config = workdir_lib.read_config(run)
  config.unlock()
  config.data.prepared = str(run / 'data')
  return config


@pytest.fixture
def folder(tmp_path, run, base):
  """A sweep's folder: the first three runs are finished, and are one run."""
  planned = plan(tmp_path, base, {})
  for each in planned.runs[:3]:
    place = layout.run_folder(tmp_path, each)
    shutil.copytree(run, place, ignore=shutil.ignore_patterns('data'))
    workdir_lib.write_config(place, each.config)
  return tmp_path


def found(folder, planned, judge, number):
  """Returns what a judge has found of a run."""
  entries = judgements.read(layout.run_folder(folder, planned.runs[number]), 6)
  return judgements.find(entries, planned.judges[judge].asked)


def test_runs_are_judged_by_suites_and_held_out_text(folder, base, data):
  judges = {
    'loss': sweeps.HeldOut(),
    'all': pairs(data),
    'syntax': pairs(data, 'within_word_accuracy', 'field syntax'),
  }
  planned, lines = plan(folder, base, judges), []
  layout.write(planned, folder)
  assert judging.judge(planned, folder, lines.append)
  # Two judges ask the same suite, which is then scored once.
  assert [each.partition(': ')[2] for each in lines] == [
    f'{run.name} by {judge}' for judge in ('loss', 'all') for run in planned.runs[:3]
  ]
  place = layout.run_folder(folder, planned.runs[0])
  expected = mlm_jax.open_run(place).evaluate(f'minimal_pairs:{data / "pairs.jsonl"}')['scores']
  assert found(folder, planned, 'all', 0) == found(folder, planned, 'syntax', 2)
  for each in expected:
    name = f'{each["metric"]} of {each["subset"]}'
    assert found(folder, planned, 'all', 0)[name] == pytest.approx(each['score'], rel=1e-6)
  scores = found(folder, planned, 'all', 1)
  assert scores['accuracy'] == scores['accuracy of all']
  last = logs.read_log(place, 'evaluations')[-1]
  assert found(folder, planned, 'loss', 0) == {'reference_loss': last['reference_loss']}
  assert not (layout.run_folder(folder, planned.runs[3]) / judgements.FILE).exists()
  described = json.loads((folder / 'sweep.json').read_text())['judges']
  assert [(each['name'], each['score'], each['direction']) for each in described] == [
    ('loss', 'reference_loss', 'min'),
    ('all', 'accuracy', 'max'),
    ('syntax', 'within_word_accuracy of field syntax', 'max'),
  ]
  assert str(data) not in json.dumps(described)


def test_what_is_judged_is_not_judged_again_and_a_killed_sweep_goes_on(
  folder, base, data, monkeypatch
):
  planned, asked = plan(folder, base, {'pairs': pairs(data)}), []
  score = lambda run, suites: {
    'scores': [dict(task='t', subset='all', metric='accuracy', score=0.5, standard_error=None, n=1)]
  }

  def killed(run, suites):
    asked.append(suites)
    if len(asked) == 2:
      raise KeyboardInterrupt
    return score(run, suites)

  monkeypatch.setattr(of_runs, 'evaluate', killed)
  monkeypatch.setattr(judge_of_suites.predictor, 'open_run', lambda *unused: None)
  with pytest.raises(KeyboardInterrupt):
    judging.judge(planned, folder, experiments.QUIET)
  text = ' '.join(plan_text.lines(planned, folder))
  assert 'judge pairs: accuracy of minimal_pairs, about ' in text
  assert '1 of 4 judgements are made; 1 differences' in text
  assert judging.judge(planned, folder, experiments.QUIET) and len(asked) == 4
  assert judging.judge(planned, folder, experiments.QUIET) and len(asked) == 4


def test_a_run_that_cannot_be_judged_leaves_the_others(folder, base, data):
  planned, lines = plan(folder, base, {'pairs': pairs(data)}), []
  shutil.rmtree(layout.run_folder(folder, planned.runs[0]) / 'tokenizer')
  assert not judging.judge(planned, folder, lines.append)
  assert any(
    each.startswith(f'{planned.runs[0].name} cannot be judged by pairs: ') for each in lines
  )
  assert found(folder, planned, 'pairs', 1) and found(folder, planned, 'pairs', 2)


def test_a_stopped_fine_tuning_ends_the_judging_and_is_not_taken_for_a_score(
  folder, base, data, monkeypatch
):
  planned, begun, stopped = plan(folder, base, {'task': fine_tuned(data)}), [], []

  def stop(config, place, log):
    begun.append((config, place))
    return False

  monkeypatch.setattr(finetuning, 'run', stop)
  shutil.rmtree(layout.run_folder(folder, planned.runs[0]))  # whose seed is that of every recipe
  assert not judging.judge(planned, folder, experiments.QUIET, stopped.append)
  ((config, place),) = begun
  run = layout.run_folder(folder, planned.runs[1])
  assert stopped and place == run / 'judges' / 'task' and found(folder, planned, 'task', 1) is None
  # All is as the recipe says, but the run that it starts from and the seed.
  assert (config.init_from, config.seed) == (str(run), 1)
  assert config.total_steps == 2 and config.data.tokenizer.startswith(f'{run}/tokenizer')


@pytest.mark.slow
def test_runs_are_fine_tuned_with_their_seeds_and_by_one_protocol(folder, base, data):
  planned = plan(folder, base, {'task': fine_tuned(data)})
  layout.write(planned, folder)
  assert judging.judge(planned, folder, experiments.QUIET)
  places = [layout.run_folder(folder, run) / 'judges' / 'task' for run in planned.runs[:3]]
  configs = [workdir_lib.read_config(place) for place in places]
  assert [config.seed for config in configs] == [run.seed for run in planned.runs[:3]] == [0, 1, 0]
  differing = {key for key, *_ in config_lib.differences(configs[0], configs[1])}
  assert differing <= {'seed', 'init_from', 'data.tokenizer'}
  for number, place in enumerate(places):
    scores = json.loads((place / 'test.json').read_text())['scores']
    assert found(folder, planned, 'task', number)['test_accuracy'] == pytest.approx(
      scores['accuracy'], rel=1e-6
    )
  # Equal runs of one seed are judged equal.
  assert found(folder, planned, 'task', 0) == found(folder, planned, 'task', 2)
  assert len(list(folder.glob('data_*'))) == 1  # the examples are prepared once
  before = [(place / 'metrics.jsonl').stat().st_mtime_ns for place in places]
  assert judging.judge(planned, folder, experiments.QUIET)
  assert before == [(place / 'metrics.jsonl').stat().st_mtime_ns for place in places]


@pytest.mark.parametrize(
  'suite', ('minimal_pairs', 'choices', 'likelihood', 'probes', 'cloze_facts')
)
def test_a_model_that_knows_nothing_has_the_scores_of_one_that_does(run, data, suite):
  place = {'minimal_pairs': 'pairs.jsonl', 'choices': 'choices.jsonl', 'likelihood': 'texts.txt'}
  path = data / {**place, 'probes': 'tags', 'cloze_facts': 'facts'}[suite]
  opened = mlm_jax.open_run(run)
  scored = opened.evaluate(f'{suite}:{path}')['scores']
  module = judge_of_suites.zero_shot.load(suite)
  blank = judge_of_suites._Blank('masked', opened.config.model.layers)
  tried = module.score(module.read(str(path)), blank)
  assert [(each.subset, each.metric) for each in tried] == [
    (each['subset'], each['metric']) for each in scored
  ]
  assert blank.tokens > 0


def _refused(data):
  return {
    'judges = 3': (3, 'must be {name: judge}'),
    'a name': ({'a/b': sweeps.HeldOut()}, 'must be up to 40 letters'),
    'a text': ({'a': 'reference_loss'}, "judge a = 'reference_loss': there is no such judge"),
    'a class': ({'a': sweeps.HeldOut}, 'there is no such judge'),
    'one name': ({'a': sweeps.HeldOut(), 'A': sweeps.HeldOut()}, 'except for letter case'),
    'a field': ({'a': sweeps.HeldOut('reference_los')}, "did you mean 'reference_loss'"),
    'a suite': ({'a': sweeps.ZeroShot('blimp:x', 'accuracy')}, "suite 'blimp' does not exist"),
    'no data': ({'a': sweeps.ZeroShot(f'choices:{data}/none.jsonl', 'x')}, 'none.jsonl'),
    'no text': ({'a': sweeps.ZeroShot(3, 'accuracy')}, 'must be NAME:PATH'),
    'a metric': ({'a': pairs(data, 'acuracy')}, "did you mean 'accuracy'"),
    'no metric': ({'a': pairs(data, 3)}, 'metric = 3'),
    'a subset': ({'a': pairs(data, 'accuracy', 'field x')}, "no 'accuracy of field x'"),
    'a recipe': ({'a': sweeps.FineTuned('bert_base')}, 'must be of fine-tuning'),
    'no recipe': ({'a': sweeps.FineTuned('finetune/none')}, 'finetune/none'),
    'a setting': ({'a': fine_tuned(data, epoch=1.0)}, 'config.epoch'),
    'a seed': ({'a': fine_tuned(data, seed=1)}, 'config.seed: leave it to the runs'),
    'a start': ({'a': fine_tuned(data, init_from='x')}, 'config.init_from: leave it to the runs'),
    'rows': ({'a': fine_tuned(data, data__row_length=64)}, 'data.row_length'),
    'no examples': ({'a': fine_tuned(data, task__train='')}, 'task.train'),
    'no file': ({'a': fine_tuned(data, task__test=f'{data}/none.csv')}, 'none.csv'),
    'a score': ({'a': fine_tuned(data, 'test_acuracy')}, "did you mean 'test_accuracy'"),
    'settings': ({'a': sweeps.FineTuned('finetune/classification', 3)}, 'settings = 3'),
  }


@pytest.mark.parametrize('what', _refused(pathlib.Path()))
def test_what_cannot_judge_is_refused_before_any_run(tmp_path, base, data, what):
  judges, says = _refused(data)[what]
  with pytest.raises(config_lib.UserError) as error:
    plan(tmp_path, base, judges)
  assert says in str(error.value) and '\n' not in str(error.value)
  assert not list(tmp_path.iterdir())


def test_a_suite_that_an_arm_cannot_do_is_refused_before_any_run(tmp_path, base, data):
  runs = [{'objective.name': name, 'seed': seed} for name in ('masked', 'rtd') for seed in (0, 1)]
  facts = sweeps.ZeroShot(f'cloze_facts:{data / "facts"}', 'precision_at_1')
  with pytest.raises(
    config_lib.UserError, match='judge facts: suite cloze_facts needs a model that'
  ):
    plan(tmp_path, base, {'facts': facts}, runs)
  with pytest.raises(config_lib.UserError, match="has no 'within_word_accuracy' there"):
    plan(tmp_path, base, {'pairs': pairs(data, 'within_word_accuracy')}, runs)
  assert plan(tmp_path, base, {'pairs': pairs(data)}, runs).judges


def test_a_judge_is_what_it_was_when_it_judged(folder, base, data, tmp_path_factory):
  planned = plan(folder, base, {'pairs': pairs(data), 'loss': sweeps.HeldOut()})
  layout.check(planned, folder)
  layout.write(planned, folder)
  # Until a run is judged all may change.
  changed = plan(folder, base, {'pairs': pairs(data, 'compatible')})
  layout.check(changed, folder)
  judgements.add(layout.run_folder(folder, planned.runs[0]), 6, {'held_out': 'x'}, {'x': 1.0})
  with pytest.raises(config_lib.UserError, match="score is 'compatible' here, 'accuracy' there"):
    layout.check(changed, folder)
  other = tmp_path_factory.mktemp('other')
  test_zero_shot.write(other / 'pairs.jsonl', *test_zero_shot.PAIRS[:2])
  with pytest.raises(config_lib.UserError, match='judge pairs: .*data is '):
    layout.check(plan(folder, base, {'pairs': pairs(other)}), folder)
  # The same data elsewhere are the same.
  shutil.copy(data / 'pairs.jsonl', other / 'pairs.jsonl')
  fewer = plan(folder, base, {'pairs': pairs(other)})
  layout.check(fewer, folder)
  layout.write(fewer, folder)
  described = json.loads((folder / 'sweep.json').read_text())['judges']
  assert [(each['name'], each.get('removed')) for each in described] == [
    ('pairs', None),
    ('loss', True),
  ]


def test_a_sweep_of_fine_tuning_has_no_judges(tmp_path, run, data):
  base = test_finetuning.config(run, str(data / 'train.csv'))
  sweep = planning.Sweep(
    base=base, runs=sweeps.seeds(2), question='?', judges={'a': sweeps.HeldOut()}
  )
  with pytest.raises(config_lib.UserError, match='judges: they judge pretrained runs'):
    sweeps.plan(sweep, 'x', tmp_path, experiments.QUIET)
