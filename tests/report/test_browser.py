"""The pages of a sweep and of a run in a real browser, opened as files."""

import json
import shutil

import pytest

from mlm_jax.report import run_report
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


@pytest.fixture(scope='module')
def run_address(tmp_path_factory):
  run = tmp_path_factory.mktemp('report') / ('a_run_' + 'with_a_very_long_name' * 8)
  fake.of_sources(run, data__source='text:' + 'a_very_long_name' * 8)
  run_report.write([run], run / 'report.html')
  return (run / 'report.html').as_uri()


@pytest.fixture(params=('sweep', 'run'))
def either(request, browser, address, run_address):
  """Gives the page of a sweep, then that of a run."""
  browser.get(address if request.param == 'sweep' else run_address)
  return browser


@pytest.fixture
def page(browser, address):
  """Gives the page of a sweep in a window of 1200 by 900, with logs of nothing else."""
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


@pytest.mark.parametrize('width', (1280, 360))
@pytest.mark.parametrize('scheme', ('light', 'dark'))
def test_the_page_shows_its_figures_and_does_not_scroll_sideways(either, width, scheme):
  resize(either, width)
  either.execute_cdp_cmd(
    'Emulation.setEmulatedMedia', {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]}
  )
  # All that can be opened or read is there: values, settings.
  either.execute_script(
    "document.querySelectorAll('details').forEach(each => each.open = true);"
    "[...document.querySelectorAll('svg.chart')].find(each => each.clientWidth).focus()"
  )
  lines = visible(either, 'svg.chart .arm .line')
  assert len(lines) >= 3 and all(wide > 150 and high > 30 for wide, high in lines)
  charts = visible(either, 'svg.chart')
  assert charts and all(wide > 0.7 * min(width, 1000) and high > 150 for wide, high in charts)
  assert either.execute_script('return document.documentElement.scrollWidth') <= width
  assert either.execute_script('return document.documentElement.clientWidth') > width - 20
  colors = either.execute_script(
    'const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]'
  )
  ink, paper = (sum(map(int, color[4:-1].split(','))) for color in colors)
  assert (ink < paper) == (scheme == 'light') and abs(ink - paper) > 400


def test_small_text_can_be_read_on_a_phone(either):
  resize(either, 360)
  sizes = either.execute_script(
    'return [...document.querySelectorAll("svg text")].filter(each => '
    'each.getBoundingClientRect().height)'
    '.map(each => each.getBoundingClientRect().height)'
  )
  assert sizes and min(sizes) > 11


def reading(browser):
  """Returns what is read of the first figure that is seen: [step, a name and a value, ...]."""
  return browser.execute_script(
    "const output = document.querySelector('output');"
    'return [...output.children].map(each => each.textContent)'
  )


@pytest.mark.parametrize('width', (1280, 360))
def test_values_are_read_by_the_arrow_keys_and_under_the_pointer(browser, run_address, width):
  resize(browser, width)
  browser.get(run_address)
  assert reading(browser) == []  # a hint, until something is read
  values = lambda step: [
    f'step {step}',
    f'held out, reference masks {4 + (6 - step) * 0.2:.4f}',
    f'held out, wiki {4.1 + (6 - step) * 0.2:.4f}',
    f'held out, news {4.2 + (6 - step) * 0.2:.4f}',
    'held out, own masks 3.9000',
    'training, own masks 4.1000',
  ]
  charts = browser.find_elements('css selector', 'svg.chart')
  chart = next(each for each in charts if each.is_displayed())
  browser.execute_script('arguments[0].focus()', chart)
  assert reading(browser) == values(6)
  for key, step in (
    ('\ue012', 4),
    ('\ue011', 2),
    ('\ue014', 4),
    ('\ue010', 6),
  ):  # left home right end
    browser.switch_to.active_element.send_keys(key)
    assert reading(browser) == values(step)
  browser.execute_script('arguments[0].blur()', chart)
  assert reading(browser) == []
  dot = chart.find_element('css selector', 'circle[data-x="step 4"]')
  box = dot.rect
  event = {'type': 'mouseMoved', 'x': box['x'] + 8, 'y': box['y'] + 30}
  browser.execute_script('window.scrollTo(0, 0)')
  browser.execute_cdp_cmd('Input.dispatchMouseEvent', event)
  assert reading(browser) == values(4)
  legend = browser.find_element('css selector', '.legend button[data-arm="1"]')
  browser.execute_script('arguments[0].click(); arguments[1].focus()', legend, chart)
  assert len(reading(browser)) == 5  # what is hidden is not read


def test_a_table_that_is_wider_than_the_window_can_be_scrolled_by_keys_and_shows_that(page):
  resize(page, 360)
  wide = page.execute_script(
    "return [...document.querySelectorAll('.scroll')].filter(each => each.scrollWidth > "
    'each.clientWidth).map(each => [each.tabIndex, each.getAttribute("role"), '
    'each.getAttribute("aria-label"), getComputedStyle(each).backgroundImage])'
  )
  assert len(wide) >= 3
  for index, role, label, background in wide:
    assert (index, role) == (0, 'region') and 'scrolls sideways' in label
    assert background.count('linear-gradient') == 4  # two shadows, and what covers them
  page.execute_script(
    'window.wide = [...document.querySelectorAll(".scroll")].find(each => each.scrollWidth > '
    'each.clientWidth); window.wide.focus()'
  )
  page.switch_to.active_element.send_keys('\ue014')
  assert page.execute_async_script(
    'const done = arguments[0]; const look = n => window.wide.scrollLeft || !n ? '
    'done(window.wide.scrollLeft) : setTimeout(look, 50, n - 1); look(40)'
  )


def test_without_scripts_the_page_is_a_picture_with_its_values(browser, run_address):
  browser.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': True})
  try:
    resize(browser, 1280)
    browser.get(run_address)
    lines = browser.find_elements('css selector', 'svg.chart .line')
    assert sum(each.is_displayed() for each in lines) == 5
    assert not [each for each in browser.find_elements('css selector', 'output') if each.text]
    title = browser.find_element('css selector', 'svg.chart .arm circle title')
    assert ', step ' in title.get_attribute('textContent')
  finally:
    browser.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': False})


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
