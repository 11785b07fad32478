"""Zero-shot suites: each file in this folder is one, found by its name.

It says what its examples are and how a model is scored on them; the model itself is a `Scorer`, see
inference/zero_shot.py. A new suite is a new file with the names that `Suite` lists.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import difflib
import importlib
import math
import pathlib
from typing import Any
from typing import Protocol
from typing import cast
import zipfile

import numpy as np

from mlm_jax import config


@dataclasses.dataclass(frozen=True)
class Score:
  """A number that a suite gives.

  Attributes:
    task: the suite.
    subset: of its examples.
    metric: what was measured.
    score: its value.
    standard_error: of the score over the examples; None where there are too few.
    n: how many examples.
    dropped: examples that do not count, such as pairs of equal sentences.
  """

  task: str
  subset: str
  metric: str
  score: float
  standard_error: float | None
  n: int
  dropped: int = 0


@dataclasses.dataclass(frozen=True)
class Blank:
  """A text with a blank, and what may stand there.

  Attributes:
    where: the file and line, for messages.
    before, after: the text around the blank.
    options: each of which is written into it.
  """

  where: str
  before: str
  after: str
  options: tuple[str, ...]


class Scorer(Protocol):
  """A model that is scored; it computes in float32.

  Attributes:
    kind: 'masked', a model that predicts hidden tokens, or 'detector', one that says of each token
      whether it is the original.
  """

  kind: str

  def text_scores(self, texts: Sequence[str], within_word: bool = False) -> list[np.ndarray]:
    """Returns float64 [pieces] of each text: log p of each piece when it is hidden.

    Of a detector it is log p that the piece is the original. `within_word` hides the later pieces
    of its word too.
    """
    ...

  def blank_scores(self, blanks: Sequence[Blank]) -> list[list[np.ndarray]]:
    """Returns for each option of each blank float64 [pieces]: log p, all of them hidden at once."""
    ...

  def word_states(
    self, sentences: Sequence[Sequence[str]]
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (float32 [layers, n, D], sentence_n, word_n): the state of each word's first piece.

    Layer 0 is what the first block is given. Words beyond the end of a row are left out.
    """
    ...


class Suite(Protocol):
  """What the file of a suite holds.

  Attributes:
    KINDS: of Scorer that it can score.
  """

  KINDS: tuple[str, ...]

  def read(self, path: str) -> Any:
    """Returns the examples; UserError for what is none, with its line."""
    ...

  def score(self, examples: Any, scorer: Scorer) -> list[Score]:
    """Returns the scores."""
    ...


def names() -> list[str]:
  """Returns the names of the suites."""
  return sorted(path.stem for path in pathlib.Path(__file__).parent.glob('[!_]*.py'))


def load(name: str) -> Suite:
  """Returns the module of a suite."""
  return cast(Suite, importlib.import_module(f'{__name__}.{name}'))


def direction(metric: str) -> str:
  """Returns 'min' where less of a metric is better, else 'max'."""
  return 'min' if metric.endswith(('perplexity', 'bits_per_character')) else 'max'


def parse(suites: str) -> list[tuple[str, str]]:
  """Returns [(suite, path of its data)] of 'NAME:PATH,NAME:PATH'.

  Raises:
    UserError: no such suite, or no data are named.
  """
  if not isinstance(suites, str) or not suites.strip():
    raise config.UserError(
      f'suite = {config.one_line(repr(suites), 60)}: must be NAME:PATH, or several with commas; '
      f'there are {", ".join(names())}'
    )
  found = []
  for item in suites.split(','):
    name, _, path = item.strip().partition(':')
    if name not in names():
      near = difflib.get_close_matches(name, names(), 1)
      meant = f', did you mean {near[0]}' if near else ''
      raise config.UserError(
        f'suite {config.one_line(repr(name), 60)} does not exist{meant}; there are '
        f'{", ".join(names())}'
      )
    if not path:
      raise config.UserError(f'suite {name}: say where its data are, as {name}:PATH')
    config.check_folder(f'suite {name}', path)
    found.append((name, path))
  return found


@dataclasses.dataclass(frozen=True)
class Record:
  """A JSON object on a line: where it is, the name of its file, and its values."""

  where: str
  name: str
  values: dict[str, Any]


def records(path: str) -> Iterator[Record]:
  """Yields the lines of a .jsonl file, or of all those in a folder or a .zip file, sorted.

  Raises:
    UserError: no such file, none in the folder, or a line that is no object; names it.
  """
  found = False
  for place, name, content in _contents(pathlib.Path(path)):
    found = True
    try:
      lines = content.decode('utf-8-sig').rstrip('\r\n').split('\n')
    except UnicodeDecodeError as error:
      raise config.UserError(f'{place} is not UTF-8 text: {config.one_line(error)}') from None
    for number, line in enumerate(lines, 1):
      where = f'{place} line {number}'
      try:
        values = config.parse_json(line, finite=False)
      except ValueError as error:
        what = 'is an empty line' if not line.strip() else f'is no JSON: {config.one_line(error)}'
        raise config.UserError(f'{where}: {what}') from None
      if not isinstance(values, dict):
        raise config.UserError(f'{where}: must be an object, such as {{"sentence": "..."}}')
      yield Record(where, name, values)
  if not found:
    raise config.UserError(f'{path} holds no .jsonl file')


def _contents(path: pathlib.Path) -> Iterator[tuple[str, str, bytes]]:
  """Yields (place, the file's name without its ending, bytes)."""
  if path.is_dir():
    for each in sorted(path.rglob('*.jsonl')):
      yield str(each), each.stem, config.read_bytes(each)
  elif path.suffix == '.zip':
    config.check_file(path)
    try:
      with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
          if name.endswith('.jsonl'):
            yield f'{path}/{name}', pathlib.PurePosixPath(name).stem, archive.read(name)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
      raise config.UserError(f'{path} is damaged: {config.one_line(error)}') from None
  else:
    yield str(path), path.stem, config.read_bytes(path)


def text(record: Record, field: str) -> str:
  """Returns a text of a record; UserError where it is none, or empty."""
  value = record.values.get(field)
  if not isinstance(value, str) or not value.strip():
    what = config.one_line(repr(value), 60) if field in record.values else 'missing'
    raise config.UserError(f'{record.where}: {field!r} is {what}, and must be a text')
  return value


def of_values(
  place: tuple[str, str, str], values: Any, groups: Any = None, dropped: int = 0
) -> Score:
  """Returns the Score that is the mean of values.

  Args:
    place: (task, subset, metric).
    values: a number each example.
    groups: of examples that belong together, a whole number each, over which the error is taken;
      None where each stands alone.
    dropped: see Score.
  """
  values = np.asarray(values, np.float64)
  groups = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
  mean = float(values.mean())
  sums = np.bincount(groups, values - mean)
  G = len(sums)
  error = math.sqrt((sums**2).sum() * G / (G - 1)) / len(values) if G > 1 else None
  return Score(*place, mean, error, len(values), dropped)
