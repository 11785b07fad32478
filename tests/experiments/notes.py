"""What a text says of results, held against the files beside it.

A test makes a Notes of a text, lets it say each sentence and table whose numbers it has computed
from the files, and ends with `done`: no number of the results may then be left unsaid. So a number
that is changed in the text, or in a file, fails, and so does one that no file holds.
"""

import collections
from collections.abc import Iterable
import csv
import json
import pathlib
import re
from typing import Any

import numpy as np
from scipy import stats

ROOT = pathlib.Path(__file__).parents[2]
# What a section that tells settings and not results begins with.
_SETTINGS = ('Question.', 'Protocol.')
_NUMBER = re.compile(r'(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d*\.?\d+)(?![\w])')
_CODE = re.compile(r'```.*?```|(?:^ {4}[^\n]*\n)+', re.DOTALL | re.MULTILINE)
_NO_RESULT = re.compile(r'arXiv:[\d.]+|\]\([^)]*\)|\d{4}-\d\d-\d\d|`[^`]*`')


class Notes:
  """The text of a file, of which what has been said is struck out."""

  def __init__(self, path: str):
    self.folder = (ROOT / path).parent
    # Lines may break anywhere in a sentence.
    paragraphs = map(_plain, re.split(r'\n{2,}', _CODE.sub('', (ROOT / path).read_text())))
    self._left = '\n\n'.join(each for each in paragraphs if not each.startswith(_SETTINGS))

  def read(self, name: str) -> list[dict[str, str]]:
    """Returns the rows of a table beside the text."""
    with (self.folder / name).open(newline='') as file:
      return list(csv.DictReader(file))

  def numbers(self, name: str) -> Any:
    """Returns what a JSON file beside the text holds."""
    return json.loads((self.folder / name).read_text())

  def says(self, *sentences: str) -> None:
    """Asserts that the text has these words, in any line breaks."""
    for sentence in sentences:
      assert _plain(sentence) in self._left, f'the text does not say: {sentence}'
      self._left = self._left.replace(_plain(sentence), '', 1)

  def shows(self, rows: Iterable[Iterable[str]]) -> None:
    """Asserts that the text has these rows of a table."""
    for row in rows:
      self.says('| ' + ' | '.join(row) + ' |')

  def done(self, settings: str = '') -> None:
    """Asserts that no number is left but those of settings, which are given separated by spaces."""
    text = _NO_RESULT.sub(' ', self._left)
    left = [
      number for number in _NUMBER.findall(text) if number.lstrip('+-') not in settings.split()
    ]
    assert not left, f'numbers that no file is asked for: {left}'


def _plain(text: str) -> str:
  return ' '.join(text.replace('**', '').split())


def short(value: float, digits: int) -> str:
  """Returns a number as the notes write it: .25 for 0.25."""
  return re.sub(r'^(-?)0\.', r'\1.', f'{value:.{digits}f}')


def signed(value: float, digits: int) -> str:
  """Returns a difference as the notes write it: +.25."""
  return re.sub(r'^([-+])0\.', r'\1.', f'{value:+.{digits}f}')


def interval(row: dict[str, str], digits: int = 3) -> str:
  """Returns a row of differences.csv as the notes write it: -.267 [-.414, -.120]."""
  mean, low, high = (signed(float(row[name]), digits) for name in ('mean', 'low', 'high'))
  return f'{mean} [{low}, {high}]'


def student(values: list[float], digits: int = 3) -> str:
  """Returns a mean over seeds with Student's interval of 95 %: 4.755 [4.673, 4.837]."""
  mean = np.mean(values)
  low, high = stats.t.interval(0.95, len(values) - 1, mean, stats.sem(values))
  return f'{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]'


class Sweep:
  """What the files of a sweep, in a folder beside a text, say: cells of tables, and differences.

  Attributes:
    arms: {arm: its rows of results.csv}.
    against: {(arm, other arm, policy that both are scored under): row of differences.csv}.
  """

  def __init__(self, said: Notes, folder: str = '.'):
    self.arms: dict[str, list[dict[str, str]]] = collections.defaultdict(list)
    for row in said.read(f'{folder}/results.csv'):
      self.arms[row['arm']].append(row)
    self.against = {
      (row['arm'], row['against'], row['scored_under']): row
      for row in said.read(f'{folder}/differences.csv')
    }

  def column(self, arm: str, name: str) -> list[float]:
    """Returns a column of an arm, a number a seed."""
    return [float(row[name]) for row in self.arms[arm]]

  def mean(self, arm: str, name: str) -> float:
    """Returns the mean of a column of an arm."""
    values = self.column(arm, name)
    return sum(values) / len(values)

  def loss(self, arm: str) -> str:
    """Returns a cell: the reference loss with Student's interval."""
    return student(self.column(arm, 'reference_loss'))

  def accuracy(self, arm: str) -> str:
    """Returns a cell: the mean accuracy under the reference masks."""
    return short(self.mean(arm, 'reference_accuracy'), 3)

  def steps(self, arm: str) -> str:
    """Returns a cell: the steps of an arm."""
    return f'{self.mean(arm, "step"):,.0f}'

  def thousands(self, arm: str, name: str) -> str:
    """Returns a cell: the mean of a column, in thousands."""
    return f'{self.mean(arm, name) / 1000:,.0f} k'

  def flops(self, arm: str) -> str:
    """Returns a cell: the mean FLOPs."""
    return f'{self.mean(arm, "flops"):.1e}'.replace('e+', 'e')

  def difference(self, arm: str, other: str, under: str = 'reference') -> str:
    """Returns a cell: the difference with its interval, or that there is none."""
    return 'baseline' if arm == other else interval(self.against[arm, other, under])

  def verdicts(self, other: str, under: str = 'reference') -> dict[str, list[str]]:
    """Returns {verdict: the arms that are tested against another and found so}."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for (arm, against, scored_under), row in self.against.items():
      if (against, scored_under) == (other, under) and row['tested'] == 'family':
        found[row['verdict']].append(arm)
    return found
