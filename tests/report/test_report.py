"""What `mlm-jax report SWEEP` writes."""

import html.parser
import json
import pathlib
import re
import shutil
import types
import urllib.parse
import xml.etree.ElementTree

import pytest

from mlm_jax import config as config_lib
from mlm_jax.report import figures
from mlm_jax.report import markup
from mlm_jax.report import page as page_lib
from mlm_jax.report import sweep_report
from mlm_jax.report import sweep_results
from mlm_jax.report import tables
from tests.report import fake

HOSTILE = '<script>alert(1)</script>"\'&'


@pytest.fixture
def folder(tmp_path):
  return fake.sweep(tmp_path / 'sweep', negative_control='rate=0.8')


class Page(html.parser.HTMLParser):
  """Keeps the elements of a page, and complains where they do not nest."""

  def __init__(self, text):
    super().__init__()
    self.elements, self.open, self.text = [], [], ''
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    if tag not in ('meta', 'wbr'):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] not in ('style', 'script'):
      self.text += data


def page(folder, **settings):
  sweep_report.write(folder, **settings)
  return Page((settings.get('out', folder) / 'report.html').read_text(encoding='utf-8'))


def rename(folder, name):
  """Gives the arm rate=0.8 another name; its runs keep theirs."""
  runs = json.loads((folder / 'sweep.json').read_text())['runs']
  for entry in runs:
    entry['arm'] = name if entry['arm'] == 'rate=0.8' else entry['arm']
  fake.change(folder / 'sweep.json', runs=runs, negative_control=None)


def test_the_page_says_what_was_found(folder):
  text = page(folder).text
  for said in (
    'Which rate?',
    'better under the reference masks (-0.099 [',
    'Trained with, scored under',
    'the masks of rate=0.3',
    'The 4 intervals hold together',
    'The negative control is tested on its own',
    'The negative control holds',
    'masking.rate',
    '9 runs, 3 arms with 3 seeds',
    '−0.099',
    'starts a word',
    'tokens/s',
    'Reference masks',
  ):
    assert said in text, said


def test_the_page_needs_nothing_from_elsewhere(folder):
  found = page(folder)
  assert not [
    name for name, _ in found.elements if name in ('link', 'img', 'iframe', 'object', 'image')
  ]
  assert not [
    each
    for _, attributes in found.elements
    for key, each in attributes.items()
    if key in ('src', 'href', 'xlink:href') and not each.startswith('runs/')
  ]
  policy = [each['content'] for _, each in found.elements if 'http-equiv' in each]
  assert policy[0].startswith("default-src 'none'")
  assert 'url(' not in re.sub(r'url\(#\w+\)', '', (folder / 'report.html').read_text())


@pytest.mark.parametrize('name', ('sweep', 'we#ird 100%?x'))
def test_each_run_is_linked_also_from_another_folder(tmp_path, name):
  folder = fake.sweep(tmp_path / name)
  for out in (folder, tmp_path / 'elsewhere' / 'deep'):
    links = [each['href'] for element, each in page(folder, out=out).elements if element == 'a']
    addresses = [urllib.parse.urljoin((out / 'report.html').as_uri(), each) for each in links]
    places = [
      pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(each).path)) for each in addresses
    ]
    assert len(places) == 9 and all((each / 'config.json').is_file() for each in places)


def test_a_link_is_left_out_where_it_would_be_the_whole_path():
  run = types.SimpleNamespace(folder=pathlib.Path('/srv/me/sweep/runs/a'))
  for out, link in (
    ('/srv/me/sweep', 'runs/a/'),
    ('/srv/reports', '../me/sweep/runs/a/'),
    ('/tmp/reports', None),
    ('/', None),
  ):
    assert page_lib._link(run, pathlib.Path(out)) == link


def test_what_the_user_wrote_is_text_and_nothing_else(folder):
  rename(folder, HOSTILE)
  fake.change(folder / 'sweep.json', question=HOSTILE + '?', experiment=HOSTILE)
  fake.write(folder / 'status.json', {'rate=0.3_seed=0': {'state': 'failed', 'error': HOSTILE}})
  fake.run(folder / 'runs' / 'rate=0.3_seed=0', 4.0, 0.3, until=2)
  slices = folder / 'runs' / 'rate=0.15_seed=0' / 'slices.json'
  row = {'slice': HOSTILE, 'tokens': 1, 'loss': 1.0, 'accuracy': 0.5}
  fake.change(slices, slices={HOSTILE: [row]})
  found = page(folder)
  assert [name for name, _ in found.elements].count('script') == 1
  assert found.text.count(HOSTILE) >= 10
  assert '<script>alert' not in (folder / 'report.html').read_text()
  assert not [key for _, attributes in found.elements for key in attributes if key.startswith('on')]


def test_the_figures_are_svg_with_a_line_and_a_band_for_each_arm(folder):
  sweep_report.write(folder)
  drawn = re.findall(r'<svg.*?</svg>', (folder / 'report.html').read_text(), re.DOTALL)
  trees = [xml.etree.ElementTree.fromstring(each) for each in drawn]
  curves = [tree for tree in trees if 'over the training' in tree.findtext('title', '')]
  assert len(curves) == 2  # for wide and for narrow windows
  for tree in curves:
    kinds = [each.get('class') for each in tree.iter('path')]
    assert kinds.count('line') == kinds.count('band') == 3
    numbers = [
      float(each)
      for path in tree.iter('path')
      for each in re.findall(r'[-\d.]+', path.get('d', ''))
    ]
    assert all(-1000 < each < 2000 for each in numbers)


def test_a_curve_is_the_mean_over_seeds_and_its_band_reaches_the_extremes():
  frame = figures.Frame('name', 1000, (0, 6), (3, 5), ('step', 'loss'))
  assert frame.x(3) == (frame.x(0) + frame.x(6)) / 2 and frame.y(3) > frame.y(4) > frame.y(5)


def test_lines_stop_where_not_all_seeds_have_been_evaluated(folder):
  for seed, until in ((0, 4), (1, 2), (2, 4)):
    (folder / 'runs' / f'rate=0.3_seed={seed}' / 'checkpoints').rename(folder / f'kept{seed}')
    fake.run(folder / 'runs' / f'rate=0.3_seed={seed}', 4.0 + seed, 0.3, until=until)
  read = sweep_results.read(folder)
  assert figures.line(read, 'rate=0.3') == [(2, 4.8, pytest.approx(5.8), 6.8)]
  fake.run(folder / 'runs' / 'rate=0.3_seed=1', 5.0, 0.3)  # done: the others leave the curve
  read = sweep_results.read(folder)
  assert figures.line(read, 'rate=0.3') == [
    (2, 5.8, 5.8, 5.8),
    (4, 5.4, 5.4, 5.4),
    (6, 5.0, 5.0, 5.0),
  ]
  final = [fake.loss('rate=0.15', seed) for seed in range(3)]
  assert figures.line(read, 'rate=0.15')[-1] == (
    6,
    min(final),
    pytest.approx(sum(final) / 3),
    max(final),
  )


@pytest.mark.parametrize(
  'low, high, most, expected',
  (
    (0, 6, 6, [0, 1, 2, 3, 4, 5, 6]),
    (0.04, 0.81, 4, [0.2, 0.4, 0.6, 0.8]),
    (-0.3, 0.3, 4, [-0.2, 0, 0.2]),
    (4.0, 4.1, 5, [4, 4.02, 4.04, 4.06, 4.08, 4.1]),
    (0, 5000, 4, [0, 2000, 4000]),
  ),
)
def test_ticks_are_round_numbers_inside(low, high, most, expected):
  assert figures.ticks(low, high, most) == pytest.approx(expected)


def test_only_what_is_claimed_is_bold_in_latex(folder):
  sweep_report.write(folder)
  written = (folder / 'table.tex').read_text().splitlines()
  lines = {line.split(' &')[0]: line for line in written if ' & ' in line}
  assert 'boldmath' in lines['rate=0.3'] and 'boldmath' in lines['rate=0.8']
  assert 'boldmath' not in lines['rate=0.15'] + lines['arm']
  assert '$-0.099 [' in lines['rate=0.3'] and lines['rate=0.3'].endswith(r'\\')
  fake.run(folder / 'runs' / 'rate=0.3_seed=0', 4.0, 0.3, until=2)
  sweep_report.write(folder)
  assert not re.search(r'rate=0.3 .*boldmath', (folder / 'table.tex').read_text())


def undecided(folder):
  """Makes rate=0.3 an arm whose interval includes 0."""
  for seed, delta in enumerate((-0.1, 0.1, 0.02)):
    fake.run(folder / 'runs' / f'rate=0.3_seed={seed}', fake.loss('rate=0.15', seed) + delta, 0.3)


def rows_of(found, arm):
  """Returns the classes of the cells of each row that names an arm."""
  rows, text = [], (found / 'report.html').read_text(encoding='utf-8')
  for row in re.findall(r'<tr>.*?</tr>', text, re.DOTALL):
    if f'data-sort="{arm}"' in row:
      rows.append({name for each in re.findall(r'class="([^"]*)"', row) for name in each.split()})
  return rows


def test_what_is_undecided_is_bold_and_coloured_nowhere(folder):
  sweep_report.write(folder)
  assert any({'claimed', 'better'} <= classes for classes in rows_of(folder, 'rate=0.3'))
  undecided(folder)
  sweep_report.write(folder)
  assert not re.search(r'rate=0.3 .*boldmath', (folder / 'table.tex').read_text())
  assert re.search(r'rate=0.8 .*boldmath', (folder / 'table.tex').read_text())
  assert (
    rows_of(folder, 'rate=0.3') and 'undecided' in Page((folder / 'report.html').read_text()).text
  )
  assert not {'claimed', 'better', 'worse'} & set().union(*rows_of(folder, 'rate=0.3'))
  assert any({'claimed', 'worse'} <= classes for classes in rows_of(folder, 'rate=0.8'))


def test_the_time_of_an_arm_is_a_range_and_what_it_counted_is_not(folder):
  for seed, seconds in enumerate((20.0, 60.0, 34.0)):
    timing = folder / 'runs' / f'rate=0.3_seed={seed}' / 'timing.jsonl'
    fake.lines(timing, [{'step': 6, 'seconds': seconds, 'model_flops_per_second': 1e6}])
  text = page(folder).text
  assert '0.3 to 1.0' in text and '10 to 29' in text  # of 576 tokens
  assert 'wall time depends on the machine' in text


def test_the_page_says_before_all_else_that_runs_are_not_scored_under_all_masks(folder):
  (folder / 'runs' / 'rate=0.3_seed=1' / 'scores.json').unlink()
  text = page(folder).text
  assert text.index('1 of 9 finished runs are not scored') < text.index('Learning curves')


def test_results_have_the_scores_under_every_policy(folder):
  sweep_report.write(folder)
  header, *rows = (line.split(',') for line in (folder / 'results.csv').read_text().splitlines())
  column = header.index('loss_under_rate=0.8')
  assert [float(row[column]) for row in rows] == [
    fake.loss_under('rate=0.8', fake.loss(arm, seed), arm.split('=')[1])
    for arm in fake.RATES
    for seed in range(3)
  ]


def test_latex_shows_every_character():
  assert tables.escape_latex('a_b 50% & #1 {x} $y^2~\\|<>"') == (
    r'a\_b 50\% \& \#1 \{x\} \$y\textasciicircum{}2\textasciitilde{}\textbackslash{}'
    r'\textbar{}\textless{}\textgreater{}\textquotedbl{}'
  )


def test_reports_of_the_same_runs_are_the_same_bytes(folder, tmp_path):
  sweep_report.write(folder)
  first = {
    name: (folder / name).read_bytes() for name in ('results.csv', 'table.tex', 'report.html')
  }
  sweep_report.write(folder)
  assert first == {name: (folder / name).read_bytes() for name in first}
  assert not list(folder.glob('*.partial'))


def test_a_sweep_that_has_just_begun_is_reported(folder):
  for run in sorted((folder / 'runs').iterdir())[1:]:
    shutil.rmtree(run)
  fake.run(folder / 'runs' / 'rate=0.15_seed=0', 4.0, 0.15, until=2)
  found = page(folder)
  assert '9 of 9 runs are not finished' in found.text and '8 waiting' in found.text


def test_arms_of_other_data_are_in_no_figure_and_no_column_of_losses(folder, monkeypatch):
  drawn = []
  render = sweep_report.picture.render
  monkeypatch.setattr(
    sweep_report.picture, 'render', lambda sweep, arms: drawn.extend(arms) or render(sweep, arms)
  )
  for run in (folder / 'runs').glob('rate=0.3_*'):
    fake.change(run / 'slices.json', reference={'bits_per_character': 7.654})
    fake.write(run / 'environment.json', [{'data_fingerprint': 'e', 'tokenizer': 'other'}])
  text = page(folder).text
  assert '3.914' not in text and '7.654' in text and 'another tokenizer' in text
  assert drawn == ['rate=0.15', 'rate=0.8']
  assert 'rate=0.3 & 3 & -- & -- & --' in (folder / 'table.tex').read_text()
  curves = re.findall(r'<svg.*?</svg>', (folder / 'report.html').read_text(), re.DOTALL)[:2]
  assert all('data-arm="0"' in each and 'data-arm="1"' not in each for each in curves)


def test_out_that_cannot_be_a_folder_is_refused(folder, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(config_lib.UserError, match='cannot write to .*file'):
    sweep_report.write(folder, tmp_path / 'file')
  with pytest.raises(config_lib.UserError, match='report.html: for a sweep, --out is the folder'):
    sweep_report.write(folder, tmp_path / 'report.html')


def test_markup_escapes_what_is_not_an_element():
  assert markup.tag(
    'p', '<b>', markup.tag('b', '&'), id='"', hidden=True, data_x=0, class_=None
  ) == ('<p id="&quot;" hidden data-x="0">&lt;b&gt;<b>&amp;</b></p>')
