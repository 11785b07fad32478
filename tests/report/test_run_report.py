"""What `mlm-jax report RUN` writes: the page of a run, pictures and numbers of its curves."""

import csv
import io
import json
import re
import xml.etree.ElementTree

import pytest

from mlm_jax import config as config_lib
from mlm_jax.report import run_curves
from mlm_jax.report import run_report
from mlm_jax.training import workdir as workdir_lib
from tests.cli.test_main import call
from tests.report import fake
from tests.report.test_report import HOSTILE
from tests.report.test_report import Page


@pytest.fixture
def run(tmp_path):
  fake.of_sources(tmp_path / 'run')
  return tmp_path / 'run'


def written(run, kind='html'):
  run_report.write([run], run / f'report.{kind}')
  return (run / f'report.{kind}').read_bytes()


def charts(page):
  """Returns the trees of the figures in the bytes of a page."""
  found = re.findall(r'<svg.*?</svg>', page.decode(), re.DOTALL)
  return [xml.etree.ElementTree.fromstring(each) for each in found]


def test_each_source_has_a_curve_of_its_own_beside_that_of_all(run):
  page = written(run)
  assert len(charts(page)) == 2  # for wide and for narrow windows
  for tree in charts(page):
    arms = {each.get('data-name'): each for each in tree.iter('g') if each.get('data-name')}
    assert set(arms) == {
      'held out, reference masks',
      'held out, wiki',
      'held out, news',
      'held out, own masks',
      'training, own masks',
    }
    for name, more in (('reference masks', 0), ('wiki', 0.1), ('news', 0.2)):
      dots = [each.get('data-y') for each in arms[f'held out, {name}'].iter('circle')]
      assert dots == [f'{4.0 + (fake.STEPS - step) * 0.2 + more:.4f}' for step in (2, 4, 6)]
  assert 'held out, wiki' in Page(page.decode()).text


def test_every_figure_says_what_its_axes_are_and_in_which_unit(run):
  for tree in charts(written(run)):
    texts = [each.text for each in tree.iter('text')]
    assert 'loss (nats per token)' in texts and 'step' in texts


def test_every_value_can_be_read_without_a_script(run):
  for tree in charts(written(run)):
    dots = list(tree.iter('circle'))
    titles = [each.findtext('title', '') for each in dots]
    assert len(dots) == 15 and 'held out, wiki, step 4: 4.5000' in titles
    assert all(each.get('data-y', '?') in title for each, title in zip(dots, titles))


def test_the_page_says_the_scores_and_where_they_are_of(run):
  text = Page(written(run).decode()).text
  for said in (
    'After 6 of 6 steps the held-out loss under the reference masks is 4.000 nats per token',
    '26.0 % of the hidden tokens are guessed',
    'about 16 held-out rows',
    'there is no interval',
    'Held-out loss by source',
    'most frequent fifth',
  ):
    assert said in text, said


def test_many_points_of_the_training_become_means_that_keep_the_total(tmp_path):
  points = [(step, float(step % 7)) for step in range(1, 1201)]
  thin = run_curves.thinned(points)
  assert len(thin) <= 200 and thin[-1][0] == 1200
  assert sum(value for _, value in thin) / len(thin) == pytest.approx(
    sum(value for _, value in points) / len(points)
  )
  assert run_curves.thinned(points[:200]) == points[:200] and run_curves.thinned([]) == []


def test_a_csv_file_has_every_number_of_both_logs(run):
  rows = list(csv.DictReader(io.StringIO(written(run, 'csv').decode())))
  expected = []
  for log in ('metrics', 'evaluations'):
    for line in map(json.loads, (run / f'{log}.jsonl').read_text().splitlines()):
      for name, value in line.items():
        if name != 'step':
          metric, source = name.split('_on_') if '_on_' in name else (name, '')
          expected.append(('run', line['step'], metric, source, pytest.approx(value, rel=1e-8)))
  found = [
    (row['run'], int(row['step']), row['metric'], row['source'], float(row['value']))
    for row in rows
  ]
  assert found == expected and len({row['source'] for row in rows}) == 3


@pytest.mark.parametrize('kind', ('svg', 'pdf', 'png', 'csv', 'html'))
def test_the_same_run_gives_the_same_bytes_at_any_time(run, monkeypatch, kind):
  monkeypatch.setenv('SOURCE_DATE_EPOCH', '0')  # the time that matplotlib would write
  first = written(run, kind)
  monkeypatch.setenv('SOURCE_DATE_EPOCH', '1000000000')
  assert written(run, kind) == first


def test_no_file_of_a_report_names_a_folder_of_the_machine(tmp_path):
  run = tmp_path / 'run'
  home = '/home/somebody/texts/wiki.txt'
  fake.of_sources(
    run,
    data__source=f'text:{tmp_path}/my texts/news.txt,text:{home}',
    data__prepared=f'{tmp_path}/prepared',
    init_from=f'{tmp_path}/other',
    total_steps=8,
  )
  workdir_lib.diverge(run, 6, f'step 6: {tmp_path}/run has no such file')
  fake.lines(
    run / 'changes.jsonl',
    [{'step': 4, 'key': 'compilation_cache', 'old': home, 'new': f'{tmp_path}/cache'}],
  )
  for kind in ('html', 'csv', 'svg', 'png', 'pdf'):
    content = written(run, kind)
    for folder in (str(tmp_path.parent), '/home/somebody'):
      assert folder.encode() not in content, (kind, folder)
  text = Page(written(run).decode()).text
  assert 'text:news.txt,text:wiki.txt' in text and 'has diverged at step 6: run has' in text


@pytest.mark.parametrize('name', ('evaluations.jsonl', 'metrics.jsonl'))
def test_a_run_that_was_stopped_early_says_what_it_lacks(tmp_path, name):
  run = tmp_path / 'run'
  fake.run(run, 4.0, 0.15, until=4)
  (run / name).unlink()
  text = Page(written(run).decode()).text
  assert 'The run is not finished' in text and 'no checkpoint yet' in text
  assert ('has not been evaluated yet' in text) == (name == 'evaluations.jsonl')
  assert ('Nothing of the training is logged' in text) == (name == 'metrics.jsonl')


def test_a_loss_that_is_not_finite_is_no_point_and_no_headline(run):
  log = run / 'evaluations.jsonl'
  lines = [json.loads(line) for line in log.read_text().splitlines()]
  fake.lines(log, [*lines[:2], lines[2] | {'reference_loss': None}])
  page = written(run)
  assert 'After 6 of 6 steps' not in page.decode() and b'nan' not in page
  assert len(charts(page)) == 2
  assert ',6,reference_loss,,nan\n' in written(run, 'csv').decode()


def test_what_the_user_wrote_is_text_and_nothing_else(tmp_path):
  run = tmp_path / 'a<b>&c'
  fake.of_sources(run, sources=(HOSTILE, 'b'), data__source=HOSTILE)
  page = written(run).decode()
  found = Page(page)
  assert [name for name, _ in found.elements].count('script') == 1
  assert found.text.count(HOSTILE) >= 3 and '<script>alert' not in page and 'a<b>&c' in found.text


@pytest.mark.parametrize('kind', ('html', 'csv', 'svg'))
@pytest.mark.parametrize('name', ('metrics.jsonl', 'evaluations.jsonl'))
def test_a_log_that_cannot_be_read_is_one_line(run, kind, name):
  (run / name).unlink()
  (run / name).mkdir()
  with pytest.raises(config_lib.UserError, match=f'cannot read .*{name}'):
    written(run, kind)


@pytest.mark.parametrize('slices', ('[]', '{"k": 3}', '{"k": [{"slice": "a"}]}', '{"k": ["a"]}'))
def test_damaged_slices_are_one_line(run, slices):
  (run / 'slices.json').write_text(f'{{"step": 6, "slices": {slices}}}')
  with pytest.raises(config_lib.UserError, match='slices.json is damaged'):
    written(run)


def test_a_run_that_is_refused_leaves_no_file(run, capsys):
  (run / 'environment.json').unlink()
  (run / 'environment.json').mkdir()
  status, _, err = call(capsys, 'report', run, f'--out={run}/curve.svg')
  assert status == 2 and 'cannot read' in err and not (run / 'curve.svg').exists()


def test_what_cannot_be_written_is_one_line(run, tmp_path):
  for runs, out, says in (
    ([run], 'a.txt', r'must end in \.png, \.svg, \.pdf, \.csv or \.html'),
    ([run, run], 'a.html', 'a page is of one run, and 2 are given'),
    ([run], 'none/a.html', 'cannot be written'),
    ([tmp_path / 'none'], 'a.csv', 'no such folder'),
    ([tmp_path], 'a.html', 'no run in'),
  ):
    with pytest.raises(config_lib.UserError, match=says):
      run_report.write(runs, tmp_path / out)


def test_the_page_of_an_adaptation_shows_both_losses_the_allowance_and_why_it_ended(run):
  log = run / 'evaluations.jsonl'
  lines = [json.loads(line) for line in log.read_text().splitlines()]
  for line, loss in zip(lines, (3.0, 3.1, 3.35)):
    line['general_loss'] = loss
  log.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  config = json.loads((run / 'config.json').read_text())
  config['adapt'] = config_lib.adaptation().adapt.to_dict() | {'allowance': 0.25}
  config['evaluation']['at_start'] = True
  (run / 'config.json').write_text(json.dumps(config))
  why = 'general_loss has risen by 0.3500 since step 2, more than the 0.25 allowed'
  steps = [line['step'] for line in lines]
  fake.write(
    run / 'checkpoints' / str(steps[-1]) / 'sha256.json', {'score': None, 'logs': {}, 'files': {}}
  )
  workdir_lib.finish(run, steps[-1], why, steps[1])
  curves = {each.name: each.points for each in run_curves.losses(run)}
  assert [loss for _, loss in curves['held out, general text']] == [3.0, 3.1, 3.35]
  assert curves['allowance of general text'] == [(steps[0], 3.25), (steps[-1], 3.25)]
  text = Page(written(run).decode()).text
  assert f'It ended at step {steps[-1]:,}: {why}.' in text
  assert 'the model' in text and '+0.100' in text and '+0.350' in text
  assert written(run, 'svg')


def test_the_page_of_another_run_says_nothing_of_adaptation(run):
  assert 'Adaptation' not in Page(written(run).decode()).text
