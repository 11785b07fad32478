"""The tokens of a question with each part of its context: [CLS] question [SEP] part [SEP].

A context that is too long for a row is read in windows that share some pieces, so that an answer
is whole in one of them unless it is longer than what they share.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.data import tokenizers
from mlm_jax.data.corpus import alignment
from mlm_jax.data.corpus import clean
from mlm_jax.data.examples import question_answering
from mlm_jax.data.examples import store

# The columns of a window: the tokens between which the answer is, counted from its [CLS], which
# stands for an answer that is not in it; -1 where that is not known.
FIRST, LAST = 'first_BS', 'last_BS'
# And of each of its tokens: what part of the context it spells; -1 of tokens that are no part.
BEGIN, END = 'begin_BL', 'end_BL'


@dataclasses.dataclass(frozen=True)
class Context:
  """The pieces of a context.

  Attributes:
    aligned: its text.
    ids: T of them.
    place_T: int64, where each is in the cleaned text, see Tokenizer.encode_with_places.
    begin_T, end_T: int32, what it spells is given[begin_T[t] : end_T[t]]; -1 of white space at the
      end.
  """

  aligned: alignment.Aligned
  ids: np.ndarray
  place_T: np.ndarray
  begin_T: np.ndarray
  end_T: np.ndarray

  def pieces(self, text: str, begin: int) -> tuple[int, int]:
    """Returns the first and the last piece of an answer, given[begin : begin + len(text)]."""
    cleaned, (first, last) = self.aligned.text, self.aligned.cleaned(begin, begin + len(text))
    # A piece is at its first letter: space before an answer would be a part of another one.
    while first < last and cleaned[first].isspace():
      first += 1
    at = self.place_T[max(0, np.searchsorted(self.place_T, first, side='right') - 1)]
    start = int(np.searchsorted(self.place_T, at))
    return start, max(start, int(np.searchsorted(self.place_T, last)) - 1)


def context(given: str, tokenizer: tokenizers.Tokenizer, data: Any) -> Context:
  """Returns the pieces of a context as it was given; data is `config.data`."""
  aligned = alignment.align(given, data)
  text = aligned.text
  ids, place_T = tokenizer.encode_with_places(text)
  # What a piece spells ends before the next piece that is elsewhere, and before white space.
  after_T = np.append(place_T, len(text))[np.searchsorted(place_T, place_T, side='right')]
  begin_T, end_T = (np.full(len(ids), -1, np.int32) for _ in range(2))
  for t, (place, after) in enumerate(zip(place_T.tolist(), after_T.tolist())):
    letters = len(text[place:after].rstrip())
    if letters:
      begin_T[t] = aligned.begin_C[place]
      end_T[t] = aligned.end_C[place + letters - 1]
  return Context(aligned, ids, place_T, begin_T, end_T)


def check(data: Any, settings: Any, seps: int) -> None:
  """Raises UserError where rows are too short for the windows that are asked for.

  Args:
    data: `config.data`.
    settings: `config.task.question_answering`.
    seps: how many [SEP] are between two texts.
  """
  least = settings.max_question_pieces + settings.stride + seps + 2
  if data.row_length <= least:
    raise config_lib.UserError(
      f'config.data.row_length = {data.row_length}: must be above {least}, which the question '
      f'(config.task.question_answering.max_question_pieces = {settings.max_question_pieces}), '
      f'what windows share (stride = {settings.stride}) and special tokens take'
    )


def encode(
  examples: Sequence[question_answering.Example],
  tokenizer: tokenizers.Tokenizer,
  data: Any,
  settings: Any,
  seps: int = 1,
) -> store.Encoded:
  """Returns the windows of questions, those of a question one after another.

  Of several answers the first is learned, as in the script run_qa.py of `transformers`.

  Args:
    examples: questions.
    tokenizer: Tokenizer.
    data: `config.data`: how texts are cleaned, and row_length.
    settings: `config.task.question_answering`.
    seps: how many [SEP] are between two texts; RoBERTa has two.

  Raises:
    UserError: see `check`.
  """
  check(data, settings, seps)
  questions = tokenizer.encode_batch([clean.given(each.question, data) for each in examples])
  contexts = {
    text: context(text, tokenizer, data)
    for text in dict.fromkeys(each.context for each in examples)
  }
  tokens, number, columns = [], [], {name: [] for name in (FIRST, LAST, BEGIN, END)}
  for n, (example, question) in enumerate(zip(examples, questions)):
    before = [tokenizer.cls_id, *question[: settings.max_question_pieces]]
    before += [tokenizer.sep_id] * seps
    of = contexts[example.context]
    for begin, end in _windows(len(of.ids), data.row_length - len(before) - 1, settings.stride):
      tokens.append(np.array([*before, *of.ids[begin:end], tokenizer.sep_id], np.int32))
      number.append(n)
      first, last = _labels(example, of, begin, end, len(before))
      columns[FIRST].append(first)
      columns[LAST].append(last)
      for name, place_T in ((BEGIN, of.begin_T), (END, of.end_T)):
        columns[name].append(np.pad(place_T[begin:end], (len(before), 1), constant_values=-1))
  most = settings.max_question_pieces
  return store.Encoded(
    [dataclasses.asdict(each) for each in examples],
    tokens,
    {
      name: np.array(each, np.int32) if name in (FIRST, LAST) else each
      for name, each in columns.items()
    },
    dict.fromkeys(columns, -1),
    number=np.array(number, np.int32),
    counts={
      f'questions are cut to {most} pieces': sum(len(each) > most for each in questions),
      'answers are left out: their context has something else at their place': sum(
        each.misplaced for each in examples
      ),
      'questions have no other answer, and are neither learned nor scored': sum(
        each.answers is not None and not each.is_scored for each in examples
      ),
    },
  )


def _windows(pieces: int, room: int, shared: int) -> list[tuple[int, int]]:
  """Returns (first piece, last + 1) of the windows over some pieces."""
  found = [(0, min(room, pieces))]
  while found[-1][1] < pieces:
    begin = found[-1][0] + room - shared
    found.append((begin, min(begin + room, pieces)))
  return found


def _labels(
  example: question_answering.Example, of: Context, begin: int, end: int, before: int
) -> tuple[int, int]:
  """Returns FIRST and LAST of the window over pieces[begin:end], with so many tokens before."""
  if not example.is_scored:
    return -1, -1
  if not example.answers:
    return 0, 0
  first, last = of.pieces(*example.answers[0])
  if first < begin or last >= end:
    return 0, 0
  return first - begin + before, last - begin + before
