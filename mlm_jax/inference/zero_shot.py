"""Runs scored on zero-shot suites."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
import json
import math
import pathlib
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import objectives
from mlm_jax.core import files
from mlm_jax.data import pack
from mlm_jax.data.corpus import clean
from mlm_jax.data.examples import words
from mlm_jax.evaluation import zero_shot
from mlm_jax.inference import hidden_copies
from mlm_jax.inference import packed_copies
from mlm_jax.inference import predictor
from mlm_jax.training import checkpoint
from mlm_jax.training import saved

FILE = 'zero_shot.json'


def evaluate(run: predictor.Run, suites: str) -> dict[str, Any]:
  """Returns {'step': ..., 'scores': [fields of a zero_shot.Score, ...]} of an opened run.

  Args:
    run: predictor.Run.
    suites: NAME:PATH,NAME:PATH, see evaluation/zero_shot.

  Raises:
    UserError: no such suite, data that are none, or what a suite refuses.
  """
  return _score(run, _read(suites))


def evaluate_checkpoints(
  workdir: str | pathlib.Path,
  suites: str,
  step: int | None = None,
  every: bool = False,
  out: str | pathlib.Path | None = None,
  log: Callable[[str], None] = saved.TO_STDERR,
) -> list[dict[str, Any]]:
  """Returns what `evaluate` does of a checkpoint, or of each, and writes it to a file.

  Args:
    workdir: of the run.
    suites: as for `evaluate`.
    step: of the checkpoint; None for the run's model.
    every: whether all checkpoints of the run are scored; then `step` must be None.
    out: the file, {'checkpoints': [...]}; None for zero_shot.json in the run's folder.
    log: is told of broken checkpoints, and of texts that do not fit.

  Raises:
    UserError: as `evaluate`, or no such run or checkpoint, or a place that cannot be written.
  """
  if every and step is not None:
    raise config_lib.UserError('--every scores all checkpoints: leave --step out')
  examples = _read(suites)  # refused before a run is opened
  out = pathlib.Path(out or pathlib.Path(workdir) / FILE)
  if out.is_dir() or not out.absolute().parent.is_dir():
    raise config_lib.UserError(f'{out} is no file that can be written: name one in a folder')
  steps: list[int | None] = [step]
  if every:
    steps = [*checkpoint.steps(pathlib.Path(workdir) / 'checkpoints')] or [None]
  found = [_score(predictor.open_run(workdir, each, log), examples) for each in steps]
  try:
    files.write(out, json.dumps({'checkpoints': found}, indent=1) + '\n')
  except OSError as error:
    raise config_lib.UserError(f'{out} cannot be written: {error.strerror}') from None
  return found


def table(checkpoints: Sequence[dict[str, Any]]) -> str:
  """Returns the scores as lines: task, subset, metric, score, its standard error, n."""
  rows = [('step', 'task', 'subset', 'metric', 'score', 'error', 'n', 'dropped')]
  for each in checkpoints:
    for score in each['scores']:
      error = score['standard_error']
      rows.append(
        (str(each['step']), score['task'], score['subset'], score['metric'])
        + (f'{score["score"]:.4f}', '' if error is None else f'{error:.4f}')
        + (str(score['n']), str(score['dropped'] or ''))
      )
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
  return '\n'.join(line.rstrip() for line in lines)


def _read(suites: str) -> list[tuple[str, zero_shot.Suite, Any]]:
  """Returns [(name, suite, its examples)]."""
  parsed = zero_shot.parse(suites)
  return [(name, zero_shot.load(name), zero_shot.load(name).read(path)) for name, path in parsed]


def _score(run: predictor.Run, suites: list[tuple[str, zero_shot.Suite, Any]]) -> dict[str, Any]:
  scorer = Scorer(run)
  for name, suite, _ in suites:
    if scorer.kind not in suite.KINDS:
      raise config_lib.UserError(
        f'suite {name} needs a model that predicts tokens; this run detects replaced ones'
      )
  scores = []
  # Accelerators else multiply float32 with fewer digits, and a pair may be decided by the last.
  with jax.default_matmul_precision('highest'):
    for _, suite, examples in suites:
      scores += suite.score(examples, scorer)
  for each in scores:
    if not math.isfinite(each.score):
      raise config_lib.UserError(
        f'{each.task}, {each.subset}: the {each.metric} of step {run.step} is not a number'
      )
  return {'step': run.step, 'scores': [dataclasses.asdict(each) for each in scores]}


class Scorer:
  """A run as a zero_shot.Scorer."""

  def __init__(self, run: predictor.Run):
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
      config.model.dtype = 'float32'
    tokenizer = run.tokenizer
    objective: Any = objectives.make(
      config, tokenizer.size, tokenizer.pad_id, tokenizer.sep_id, head_rows=1
    )
    self.kind = 'detector' if config.objective.name == 'rtd' else 'masked'
    self._run, self._tokenizer, self._rows = run, tokenizer, run.rows
    self._ids = run.ids
    self._room = run.rows.length - pack.OVERHEAD
    if self.kind == 'masked':
      model, params = objective.mlm.model, objective.mlm_params(run.trained)
    else:
      model, params = objective.encoder, objective.encoder_params(run.trained)
    self._reader = run.reader(model, params)

  def text_scores(self, texts: Sequence[str], within_word: bool = False) -> list[np.ndarray]:
    """See zero_shot.Scorer."""
    if self.kind == 'masked':
      return self._run.piece_log_probabilities(texts, within_word=within_word, reader=self._reader)
    return packed_copies.by_text(
      self._run.contents(texts), self._whole, packed_copies.log_originals, self._reader, self._ids
    )

  def _whole(self, ids_T: np.ndarray) -> Iterator[hidden_copies.Copies]:
    """Yields a text as it is, part by part where it is longer than a row."""
    for t in range(0, len(ids_T), self._room):
      part_1T = ids_T[None, t : t + self._room]
      place_S = np.arange(part_1T.shape[1])
      yield hidden_copies.Copies(part_1T, np.zeros_like(place_S), place_S, part_1T.T)

  def blank_scores(self, blanks: Sequence[zero_shot.Blank]) -> list[list[np.ndarray]]:
    """See zero_shot.Scorer; the text around a blank is cut into pieces as beside its first option.

    Raises:
      UserError: an option that the vocabulary cannot write.
    """
    self._report_longer(blanks)
    places: list[tuple[int, list[int]]] = []  # of each of the copies: the blank, the options

    def copies() -> Iterator[hidden_copies.Copies]:
      for number, blank in enumerate(blanks):
        before, after, options = self._pieces(blank)
        for size in sorted({len(each) for each in options}):
          chosen = [n for n, each in enumerate(options) if len(each) == size]
          places.append((number, chosen))
          answers_SK = np.array([options[n] for n in chosen], np.int32).T
          yield self._blank(before, after, answers_SK)

    found: list[list[Any]] = [[None] * len(blank.options) for blank in blanks]
    scored = packed_copies.log_probabilities(self._reader, copies(), self._ids)
    for copy, scores_SK in enumerate(scored):
      number, chosen = places[copy]
      for k, n in enumerate(chosen):
        found[number][n] = scores_SK[:, k].astype(np.float64)
    return found

  def _report_longer(self, blanks: Sequence[zero_shot.Blank]) -> None:
    whole = [
      self._rows.contents(each.before + each.options[0] + each.after)
      for each in {blank.before + blank.after: blank for blank in blanks}.values()
    ]
    self._rows.fit(whole, 'window', 'blanks are seen with what is around them')

  def _blank(
    self, before: list[int], after: list[int], answers_SK: np.ndarray
  ) -> hidden_copies.Copies:
    """Returns a text with its blank hidden; of a longer one what is around the blank."""
    size = len(answers_SK)
    ids = [*before, *[self._tokenizer.mask_id] * size, *after]
    middle = len(before) + size // 2
    begin = min(max(0, middle - self._room // 2), max(0, len(ids) - self._room))
    contents_1T = np.array([ids[begin : begin + self._room]], np.int32)
    place_S = len(before) - begin + np.arange(size)
    return hidden_copies.Copies(contents_1T, np.zeros_like(place_S), place_S, answers_SK)

  def _pieces(self, blank: zero_shot.Blank) -> tuple[list[int], list[int], list[list[int]]]:
    """Returns the ids before the blank, after it, and of each option."""
    before, _, after = self._cut(blank.before, blank.options[0], blank.after)
    # What is beside the blank decides how an option is cut, and recurs where the rest differs.
    left, right = ' '.join(blank.before.split(' ')[-2:]), blank.after.split(' ')[0]
    options = [self._option(left, each, right) for each in blank.options]
    for option, ids in zip(blank.options, options):
      if not ids or self._tokenizer.unk_id in ids or len(ids) > self._room // 2:
        raise config_lib.UserError(
          f'{blank.where}: the vocabulary cannot write {config_lib.one_line(option, 60)!r}'
        )
    return before, after, options

  @functools.cached_property
  def _option(self) -> Callable[[str, str, str], list[int]]:
    return functools.cache(lambda left, option, right: self._cut(left, option, right)[1])

  def _cut(self, before: str, option: str, after: str) -> tuple[list[int], list[int], list[int]]:
    """Returns the ids of three parts of a text; a piece belongs where it begins."""
    data = self._rows.data
    cleaned = clean.given(before + option + after, data)
    ids_T, place_T = self._tokenizer.encode_with_places(cleaned)
    # Cleaning changes white space: only letters are counted.
    letters = lambda text: len(''.join(clean.given(text, data).split()))
    is_letter = np.array([not character.isspace() for character in cleaned], np.int64)
    rank_T = np.concatenate([[0], np.cumsum(is_letter)])[place_T]
    begin = letters(before)
    cuts = np.searchsorted(rank_T, [begin, begin + letters(option)])
    return tuple(part.tolist() for part in np.split(ids_T, cuts))  # pyrefly: ignore[bad-return]

  def word_states(
    self, sentences: Sequence[Sequence[str]]
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See zero_shot.Scorer."""
    encoded = words.encode(sentences, self._tokenizer, self._rows.data)
    layers = tuple(range(self._reader.model.architecture.layers + 1))
    states, sentence_n, word_n = [], [], []
    hidden = self._reader.hidden((each.tokens_T for each in encoded), layers)
    for number, (each, hidden_KTD) in enumerate(zip(encoded, hidden)):
      begins_T = each.word_T >= 0
      states.append(hidden_KTD[:, begins_T])
      word_n.append(each.word_T[begins_T])
      sentence_n.append(np.full(int(begins_T.sum()), number))
    return np.concatenate(states, 1), np.concatenate(sentence_n), np.concatenate(word_n)
