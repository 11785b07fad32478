"""The report of several sweeps: their own, and a table that says the same."""

import csv
import io
import json

import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.report import suite_report
from tests.report import fake
from tests.report import fake_tasks


@pytest.fixture
def suite(tmp_path):
  folder = tmp_path / 'suite'
  folder.mkdir()
  fake_tasks.sweep(folder / 'labels', question='Does it help <b>here</b>?')
  fake.sweep(folder / 'rates')
  (folder / 'suite.json').write_text(json.dumps({'sweeps': ['labels', 'rates', 'later']}))
  return folder


def test_a_row_for_each_arm_of_each_sweep(suite, tmp_path):
  lines = suite_report.write(suite, tmp_path / 'out')
  assert 'not begun: later' in lines
  assert (tmp_path / 'out' / 'labels' / 'differences.csv').is_file()
  rows = list(csv.DictReader(io.StringIO((tmp_path / 'out' / 'results.csv').read_text())))
  assert [(row['sweep'], row['arm']) for row in rows[:2]] == [
    ('labels', 'from_scratch=true'),
    ('labels', 'from_scratch=false'),
  ]
  assert {row['metric'] for row in rows[2:]} == {'reference_loss'}
  true, false = (np.array(fake_tasks.ACCURACY[arm]) for arm in ('true', 'false'))
  assert float(rows[1]['mean']) == pytest.approx(false.mean())
  assert float(rows[1]['difference']) == pytest.approx((false - true).mean())
  assert rows[1]['verdict'] == 'higher' and rows[1]['against'] == 'from_scratch=true'
  assert rows[0]['difference'] == ''
  page = (tmp_path / 'out' / 'report.html').read_text()
  assert 'Does it help &lt;b&gt;here&lt;/b&gt;?' in page and 'href="rates/report.html"' in page
  assert f'<b>{(false - true).mean():+.3f} [' in page


def test_a_folder_of_none_or_of_a_damaged_list(suite, tmp_path):
  assert suite_report.names(tmp_path) == []
  (suite / 'suite.json').write_text('{"sweeps": 3}')
  with pytest.raises(config_lib.UserError, match='suite.json is damaged'):
    suite_report.names(suite)
  (suite / 'suite.json').write_text('{"sweeps": ["later"]}')
  with pytest.raises(config_lib.UserError, match='none of the sweeps of .* has begun: later'):
    suite_report.write(suite)
