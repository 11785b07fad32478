"""Made-up languages whose masked entropy can be computed (see evaluation/bayes_optimal.py).

Each is a hidden Markov language: a state draws a word and then the next state. A
state's words fall off as a power of their rank, in an order of its own, and states
share their words, so that a word alone does not determine its state. The transitions are
permutations of the states, mixed with such weights: all states are equally frequent,
and documents start in any of them, so that every stretch of a document follows the
same law and it may be cut into segments anywhere.

  synthetic:STATES/WORDS[/DOCUMENTS[/SEED]]    10,000 documents and seed 0 if not given

The same numbers give the same tables; a document depends on them and on its own number.
"""

import bisect
from collections.abc import Iterator
import dataclasses
from typing import Any

import numpy as np

from mlm_jax import config
from mlm_jax.data.corpus import clean

KIND = 'synthetic:'
FORM = 'synthetic:STATES/WORDS[/DOCUMENTS[/SEED]]'
_BOUNDS = {
  'STATES': (1, 256),
  'WORDS': (40, 20_000),
  'DOCUMENTS': (1, 2**32 - 1),
  'SEED': (0, 2**32 - 1),
}
_DEFAULTS = (10_000, 0)  # DOCUMENTS and SEED
_TRANSITION_POWER = 2.0
_EMISSION_POWER = 1.5
_SHORTEST, _LONGEST = 16, 96  # words of a document, uniform between
_TABLES, _DOCUMENT = 0, 1  # what a stream of random numbers is for
_SYLLABLES = [a + b for a in 'bdfgklmnprst' for b in 'aeiou']


@dataclasses.dataclass(frozen=True)
class Language:
  """A hidden Markov language of S states and W words, all in float64.

  Attributes:
    initial_S: the first state's probabilities, which the transitions keep.
    transition_SS: the next state's probabilities, given the state of the row.
    emission_SW: a word's probabilities, given the state.
    words: the W words as text.
  """

  initial_S: np.ndarray
  transition_SS: np.ndarray
  emission_SW: np.ndarray
  words: tuple


@dataclasses.dataclass(frozen=True)
class Synthetic:
  """A language as a source. A splitting rule does not apply to it."""

  spec: str
  name: str
  states: int
  words: int
  size: int
  seed: int

  def inputs(self) -> list:
    """Returns []: there are no files."""
    return []

  def language(self) -> Language:
    """Returns the Language."""
    random = np.random.default_rng((_TABLES, self.seed, self.states, self.words))
    # The order of random numbers is a permutation; the nth gives each state its nth successor.
    successor_NS = random.random((self.states, self.states)).argsort(axis=1)
    transition_SS = np.zeros((self.states, self.states))
    for weight, successor_S in zip(_falling(self.states, _TRANSITION_POWER), successor_NS):
      transition_SS[np.arange(self.states), successor_S] += weight
    order_SW = random.random((self.states, self.words)).argsort(axis=1)
    emission_SW = _falling(self.words, _EMISSION_POWER)[order_SW]
    return Language(
      np.full(self.states, 1 / self.states),
      transition_SS,
      emission_SW,
      tuple(_spelled(number) for number in range(self.words)),
    )

  def documents(self, data: Any, counts: clean.Counts, skipped: Any) -> Iterator[str]:
    """Yields each document's text; arguments as for `sources.Text.documents`."""
    del data, counts, skipped
    language = self.language()
    initial = _cumulated(language.initial_S[None])[0].tolist()
    transition = _cumulated(language.transition_SS).tolist()
    # One ascending array: state s has its probabilities from s to s + 1.
    emission = (_cumulated(language.emission_SW) + np.arange(self.states)[:, None]).ravel()
    for number in range(self.size):
      # A generator for each document: it does not depend on those before it.
      random = np.random.default_rng((_DOCUMENT, self.seed, number))
      length = _SHORTEST + int(random.random() * (_LONGEST - _SHORTEST + 1))
      states, steps = [], initial
      for draw in random.random(length).tolist():
        states.append(bisect.bisect_right(steps, draw))
        steps = transition[states[-1]]
      states_T = np.array(states)
      place_T = np.searchsorted(emission, states_T + random.random(length), side='right')
      # The sum of a state and a draw below 1 may round up to the next state.
      words_T = np.minimum(place_T - self.words * states_T, self.words - 1)
      yield ' '.join(language.words[word] for word in words_T)


def parse(spec: str) -> Synthetic:
  """Returns the Synthetic source that a spec names.

  Raises:
    UserError: it has not two to four whole numbers within bounds.
  """
  given = spec.removeprefix(KIND).split('/')
  numbers = [int(each) if each.isdecimal() and len(each) < 20 else -1 for each in given]
  if not 2 <= len(numbers) <= 4 or not all(
    low <= number <= high for number, (low, high) in zip(numbers, _BOUNDS.values())
  ):
    bounds = ', '.join(f'{name} from {low} to {high:,}' for name, (low, high) in _BOUNDS.items())
    raise config.UserError(
      f'config.data.source: {spec!r} is not a synthetic language; write {FORM}, {bounds}'
    )
  return Synthetic(spec, 'synthetic', *numbers, *_DEFAULTS[len(numbers) - 2 :])


def _falling(n, power):
  """Returns n probabilities proportional to rank**-power."""
  weight_N = np.arange(1, n + 1) ** -power
  return weight_N / weight_N.sum()


def _cumulated(table_RC):
  """Returns the sums along the rows, each ending in exactly 1."""
  sums_RC = table_RC.cumsum(axis=1)
  sums_RC[:, -1] = 1
  return sums_RC


def _spelled(number):
  """Returns the letters of a word: its number, written with syllables for digits."""
  rest, digit = divmod(number, len(_SYLLABLES))
  return (_spelled(rest) if rest else '') + _SYLLABLES[digit]
