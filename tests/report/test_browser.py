"""report.html in a real browser, opened as a file."""

import json
import shutil

import pytest

from mlm_jax.report import sweep_report
from tests.report import fake

pytestmark = pytest.mark.slow

_FLAGS = (
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
)


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  webdriver = pytest.importorskip(
    'selenium.webdriver', reason='needs selenium, of the extra `test`'
  )
  binary, driver = (shutil.which(name) for name in ('chromium', 'chromedriver'))
  if not binary or not driver:
    pytest.skip(
      'needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)'
    )
  options = webdriver.ChromeOptions()
  options.binary_location = binary
  for flag in (*_FLAGS, f'--user-data-dir={tmp_path_factory.mktemp("profile")}'):
    options.add_argument(flag)
  options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
  chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
  yield chrome
  chrome.quit()


@pytest.fixture(scope='module')
def address(tmp_path_factory):
  folder = fake.sweep(tmp_path_factory.mktemp('report') / 'sweep', negative_control='rate=0.8')
  plan = json.loads((folder / 'sweep.json').read_text())
  plan['runs'][-1]['name'] = 'a_run_' + 'with_a_very_long_name' * 8  # is not there
  fake.write(folder / 'sweep.json', plan)
  sweep_report.write(folder)
  return (folder / 'report.html').as_uri()


@pytest.fixture
def page(browser, address):
  """Gives the page in a window of 1200 by 900, with logs of nothing else."""
  resize(browser, 1200)
  for log in ('performance', 'browser'):
    browser.get_log(log)
  browser.get(address)
  return browser


def resize(browser, width):
  browser.execute_cdp_cmd(
    'Emulation.setDeviceMetricsOverride',
    {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 600},
  )


def visible(browser, selector):
  """Returns the [width, height] of each element that a reader sees."""
  return browser.execute_script(
    'return [...document.querySelectorAll(arguments[0])].map(each => each.getBoundingClientRect())'
    '.filter(box => box.width && box.height).map(box => [box.width, box.height])',
    selector,
  )


@pytest.mark.parametrize('width', (1200, 390))
@pytest.mark.parametrize('scheme', ('light', 'dark'))
def test_the_page_shows_its_figures_and_does_not_scroll_sideways(page, width, scheme):
  resize(page, width)
  page.execute_cdp_cmd(
    'Emulation.setEmulatedMedia', {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]}
  )
  lines = visible(page, 'svg.chart .arm .line')
  assert len(lines) == 3 and all(wide > 150 and high > 100 for wide, high in lines)
  charts = visible(page, 'svg.chart')
  assert charts and all(wide > 0.7 * min(width, 1000) and high > 150 for wide, high in charts)
  assert page.execute_script('return document.documentElement.scrollWidth') <= width
  colors = page.execute_script(
    'const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]'
  )
  ink, paper = (sum(map(int, color[4:-1].split(','))) for color in colors)
  assert (ink < paper) == (scheme == 'light') and abs(ink - paper) > 400


def test_small_text_can_be_read_on_a_phone(page):
  resize(page, 390)
  sizes = page.execute_script(
    'return [...document.querySelectorAll("svg text")].filter(each => '
    'each.getBoundingClientRect().height)'
    '.map(each => each.getBoundingClientRect().height)'
  )
  assert sizes and min(sizes) > 11


_CELLS = """
  const tables = [...document.querySelectorAll('table')];
  const table = tables.find(each => each.tHead.textContent.includes(arguments[0]));
  const header = [...table.tHead.rows[0].cells].find(each => each.textContent === arguments[0]);
  if (arguments[1]) header.querySelector('button').click();
  return [header.getAttribute('aria-sort'),
          ...[...table.tBodies[0].rows].map(row => row.cells[header.cellIndex].textContent)]
"""


@pytest.mark.parametrize(
  'header, number', (('loss', lambda text: float(text.split()[0])), ('predictions', float))
)
def test_a_click_on_a_header_sorts_by_number_and_turns_round(page, header, number):
  _, *planned = page.execute_script(_CELLS, header, False)
  ascending = sorted(planned, key=number)
  assert len(set(planned)) == 3 and (header != 'predictions' or ascending != sorted(planned))
  assert page.execute_script(_CELLS, header, True) == ['ascending', *ascending]
  assert page.execute_script(_CELLS, header, True) == ['descending', *ascending[::-1]]


def test_a_click_on_a_header_sorts_by_letter_where_there_are_no_numbers(page):
  assert page.execute_script(_CELLS, 'state', True)[1:] == ['done'] * 8 + ['waiting']
  assert page.execute_script(_CELLS, 'state', True)[1:] == ['waiting'] + ['done'] * 8


def test_a_click_on_a_name_hides_its_curve_and_shows_it_again(page):
  button = page.find_element('css selector', '.legend button[data-arm="1"]')
  button.click()
  assert button.get_attribute('aria-pressed') == 'false'
  assert len(visible(page, 'svg.chart .line')) == 2 and not visible(
    page, 'svg.chart [data-arm="1"] .line'
  )
  resize(page, 390)  # the narrow figure hides it too
  assert len(visible(page, 'svg.chart .line')) == 2
  page.execute_script('arguments[0].click()', button)
  assert len(visible(page, 'svg.chart .line')) == 3


def test_nothing_is_requested_and_nothing_complained_about(page, address):
  page.execute_script('document.querySelectorAll("button").forEach(each => each.click())')
  events = [json.loads(entry['message'])['message'] for entry in page.get_log('performance')]
  requested = [
    each['params']['request']['url']
    for each in events
    if each['method'] == 'Network.requestWillBeSent'
  ]
  assert requested == [address]
  assert not page.get_log('browser')
