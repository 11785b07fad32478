"""What `mlm-jax report` says of fine-tuned runs: scores, curves, confusions, the worst examples."""

import json
import re

import pytest

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax.report import task_scores
from tests.cli.test_main import call
from tests.report import fake
from tests.report import fake_tasks
from tests.report.test_report import Page
from tests.report.test_run_report import charts
from tests.report.test_run_report import written


@pytest.fixture
def run(tmp_path):
  fake_tasks.run(tmp_path / 'run')
  return tmp_path / 'run'


def rows(page, heading, level=2):
  """Returns the texts of the cells of the first table after a heading, a list a row."""
  heading = f'<h{level}>{heading}</h{level}>'
  table = page.partition(heading)[2].partition('<tbody>')[2].partition('</tbody>')[0]
  cells = [re.findall(r'<td[^>]*>(.*?)</td>', row) for row in re.findall(r'<tr>(.*?)</tr>', table)]
  return [[re.sub(r'<[^>]*>', '', cell) for cell in row] for row in cells]


def test_a_page_has_the_scores_of_the_test_examples(run):
  page = written(run).decode()
  assert rows(page, 'Scores') == [
    ['loss', '0.5000'],
    ['accuracy', '0.7500'],
    ['macro f1', '0.7400'],
    ['matthews', '0.5000'],
  ]
  assert 'The accuracy is 0.750 on 8 test examples, by the model of step 4' in Page(page).text


def test_both_curves_are_those_of_the_logs(run):
  trees = charts(written(run))
  found = {}
  for tree in trees:
    for group in tree.iter('g'):
      if name := group.get('data-name'):
        dots = tuple(dot.get('data-y') for dot in group.iter('circle'))
        found.setdefault(name, set()).add(dots)
  assert found['training'] == {('0.8800', '0.8600', '0.8400')}
  assert found['validation'] == {('0.9000', '0.7000', '0.9000'), ('0.7800', '0.8000', '0.7800')}


def test_recall_and_precision_are_read_from_the_confusions(run):
  assert rows(written(run).decode(), 'By label') == [
    ['no', '4', '0.750', '0.600', '3', '1'],
    ['yes', '4', '0.500', '0.667', '2', '2'],
  ]


def test_the_worst_examples_are_wrong_and_the_surest_comes_first_escaped(run):
  page = written(run).decode()
  found = rows(page, 'Worst examples')
  assert [row[0] for row in found] == ['0.900', '0.800', '0.600']
  assert 'right and sure' not in page
  assert '<b>wrong' not in page and '&lt;b&gt;wrong&lt;/b&gt; and sure' in page


def test_the_worst_of_several_labels_is_the_one_that_is_most_wrong():
  left_out = {'label': ['a'], 'prediction': [], 'probabilities': {'a': 0.1, 'b': 0.2}}
  added = {'label': [], 'prediction': ['b'], 'probabilities': {'a': 0.1, 'b': 0.7}}
  right = {'label': ['a'], 'prediction': ['a'], 'probabilities': {'a': 0.9, 'b': 0.0}}
  assert task_scores.worst([right, added, left_out], 5) == [(0.9, left_out), (0.7, added)]
  assert task_scores.worst([{'label': 'a', 'prediction': 'b'}], 5)[0][0] is None


def scored(folder, name, facts, lines, **settings):
  """Writes a run of a kind of task, whose predictions are these; returns the text of its page."""
  task = downstream.load(name)
  fake_tasks.run(folder, **settings)
  sums = downstream.sums(task, lines, facts)
  assert sums is not None
  scores = sums.whole
  fake.change(
    folder / 'test.json',
    examples=len(lines),
    scores={'loss': 0.5, **scores},
    errors=task.errors(lines, facts),
  )
  fake.write(folder / 'facts.json', facts)
  fake.lines(folder / 'predictions.jsonl', lines)
  return written(folder).decode()


def test_scores_have_intervals_where_the_predictions_give_them_again(run):
  lines = [json.loads(each) for each in (run / 'predictions.jsonl').read_text().splitlines()]
  facts = {'labels': fake_tasks.LABELS, 'multilabel': False}
  page = scored(run, 'classification', facts, lines)
  found = {row[0]: row[1:] for row in rows(page, 'Scores')}
  # One of four is right: of four draws with replacement none to three are, mostly.
  assert found['accuracy'] == ['0.2500', '0.0000 to 0.7500'] and found['loss'] == ['0.5000', '–']
  assert rows(page, 'By characters') and len(rows(page, 'By label')) == 2
  fake.change(run / 'test.json', scores={'accuracy': 0.75})
  assert rows(written(run).decode(), 'Scores') == [['accuracy', '0.7500']]


TOKENS = {'task.name': 'token_labelling'}
ANSWERS = {
  'task.name': 'question_answering',
  'task.text': 'question',
  'task.second_text': 'context',
}


def sentence(words, tags, said):
  return {
    'tokens': words.split(),
    'tags': tags.split(),
    'prediction': said.split(),
    'words_left_out': 0,
  }


def test_a_page_of_token_labelling_has_types_lengths_and_worst_sentences(tmp_path):
  facts = {'labels': ['O', 'B-x', 'I-x', 'B-y', 'I-y'], 'scheme': 'iob2'}
  lines = [
    sentence('a b c', 'B-x I-x O', 'B-y I-y O'),
    sentence('<b>d</b>', 'B-y', 'O'),
    sentence('e f', 'O B-y', 'O B-y'),
  ]
  page = scored(tmp_path / 'run', 'token_labelling', facts, lines, **TOKENS)
  # Rows: entities, recall, precision, then how often they were x, y, none.
  assert rows(page, 'By label') == [
    ['x', '1', '0.000', '–', '0', '1', '0'],
    ['y', '2', '0.500', '0.500', '0', '1', '1'],
    ['none', '0', '–', '–', '0', '0', '0'],
  ]
  assert rows(page, 'By words') == [['1', '1', '0'], ['2', '1', '1'], ['3', '1', '0']]
  assert rows(page, 'Worst examples') == [
    ['2', 'a b c', 'a b: x', 'a b: y'],
    ['1', '&lt;b&gt;d&lt;/b&gt;', '&lt;b&gt;d&lt;/b&gt;: y', ''],
  ]
  assert '<b>d' not in page
  assert {row[0]: row[1] for row in rows(page, 'Scores')}['f1'] == '0.4000'


def answer(question, answers, prediction, f1, probability):
  return {
    'question': question,
    'answers': answers,
    'prediction': prediction,
    'f1': f1,
    'exact_match': float(f1 == 1),
    'probability': probability,
  }


def test_a_page_of_question_answering_has_kinds_lengths_and_worst_answers(tmp_path):
  facts = {'has_unanswerable': True, 'threshold': 0.5}
  lines = [
    answer('who <i>is</i> it', ['Ada'], 'Ada', 1.0, 0.9),
    answer('who <i>was</i> it', [], 'Charles', 0.0, 0.8),
    answer('when', ['in 1843'], 'in 1844', 0.5, 0.7),
  ]
  page = scored(tmp_path / 'run', 'question_answering', facts, lines, **ANSWERS)
  assert rows(page, 'By first word') == [
    ['who', '2', '0.5', '0.5'],
    ['when', '1', '0.5', '0'],
  ]
  assert [row[:2] for row in rows(page, 'By answer length')] == [
    ['no answer', '1'],
    ['1', '1'],
    ['2', '1'],
  ]
  worst = rows(page, 'Worst examples')
  assert [row[0] for row in worst] == ['who &lt;i&gt;was&lt;/i&gt; it', 'when']
  assert '<i>' not in page
  found = {row[0]: row[1:] for row in rows(page, 'Scores')}
  assert found['f1'][0] == '0.5000' and found['has answer f1'][0] == '0.7500'
  assert found['no answer f1'] == ['0.0000', '0.0000 to 0.0000']


def test_a_page_of_several_labels_has_scores_by_label(tmp_path):
  facts = {'labels': ['a', 'b'], 'multilabel': True}
  line = lambda label, said: {'text': 't', 'label': label, 'prediction': said}
  lines = [line(['a'], ['a', 'b']), line(['a', 'b'], ['b']), line([], [])]
  settings = {'task.multilabel': True}
  page = scored(tmp_path / 'run', 'classification', facts, lines, **settings)
  # Precision, recall, F1, and how many there are.
  assert rows(page, 'Per class') == [
    ['a', '1', '0.5', '0.6667', '2'],
    ['b', '0.5', '1', '0.6667', '1'],
  ]


def test_a_run_that_has_stopped_says_what_it_lacks(tmp_path):
  fake_tasks.run(tmp_path / 'run', until=2)
  text = Page(written(tmp_path / 'run').decode()).text
  for each in ('2 of 6 steps are logged', 'no checkpoint yet', 'test.json is written at the end'):
    assert each in text
  fake_tasks.run(tmp_path / 'begun', evaluations=(), until=0)
  assert 'has not been evaluated yet' in Page(written(tmp_path / 'begun').decode()).text


def test_scores_of_the_examples_that_chose_the_checkpoint_are_called_too_good(run):
  fake.change(run / 'test.json', split='validation')
  assert 'they are too good' in Page(written(run).decode()).text


def test_many_labels_are_read_by_their_confusions_and_not_as_a_matrix(run):
  names = [f'label {n}' for n in range(40)]
  counts = [[3 * (n == c) + (n == 7 and c == 9) for c in range(40)] for n in range(40)]
  fake.change(run / 'test.json', errors={'labels': names, 'confusions': counts})
  page = written(run).decode()
  assert {len(row) for row in rows(page, 'By label')} == {4}
  assert rows(page, 'Most frequent', level=3) == [['label 7', 'label 9', '1']]


@pytest.mark.parametrize('kind', ('png', 'svg', 'pdf'))
def test_pictures_are_drawn_of_fine_tuned_runs(run, kind):
  content = written(run, kind)
  assert content == written(run, kind)
  assert len(content) > 5_000


def test_numbers_of_the_logs_are_in_the_csv(run):
  assert b'run,4,validation_accuracy,,0.8\n' in written(run, 'csv')


def test_the_command_prints_the_scores_and_refuses_a_mixture(run, tmp_path, capsys):
  status, out, _ = call(capsys, 'report', str(run), f'--out={tmp_path / "c.png"}')
  assert status == 0 and 'accuracy 0.7500' in out
  fake.of_sources(tmp_path / 'pretrained')
  status, _, error = call(capsys, 'report', str(run), str(tmp_path / 'pretrained'))
  assert status == 2 and 'report them apart' in error


def test_runs_on_other_examples_are_said_to_be_not_comparable(run, tmp_path):
  fake_tasks.run(tmp_path / 'other', test='u' * 64)
  assert 'not comparable' in task_scores.table([run, tmp_path / 'other'])[-1]
  assert 'not comparable' not in ''.join(task_scores.table([run, run]))


@pytest.mark.parametrize(
  'content', ({'scores': 1}, {'errors': {'labels': ['a'], 'confusions': [[1, 2]]}})
)
def test_a_damaged_file_is_named(run, content):
  fake.change(run / 'test.json', **content)
  with pytest.raises(config_lib.UserError, match='test.json is damaged'):
    written(run)
  (run / 'predictions.jsonl').write_text(json.dumps(1) + '\n')
  with pytest.raises(config_lib.UserError, match='predictions.jsonl is damaged'):
    task_scores.predictions(run)


def test_scores_of_groups_and_the_worst_numbers_are_tables_escaped(run):
  path = run / 'test.json'
  report = json.loads(path.read_text())
  group = {'examples': 1200, 'spearman': 0.51234, 'rmse': 1.5}
  worst = [{'text': '<b>far</b>', 'score': 5.0, 'prediction': 0.25, 'error': -4.75}]
  report['errors'] = {'by_length': {'up to 9 characters': group}, 'worst': worst}
  path.write_text(json.dumps(report))
  page = written(run).decode()
  assert rows(page, 'By length') == [['up to 9 characters', '1,200', '0.5123', '1.5']]
  assert rows(page, 'Worst examples')[0] == ['&lt;b&gt;far&lt;/b&gt;', '5', '0.25', '-4.75']
  path.write_text(json.dumps(report | {'errors': {'by_length': {'a': 1}}}))
  with pytest.raises(config_lib.UserError, match='is damaged'):
    written(run)
