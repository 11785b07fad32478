"""Probes: how well does a linear classifier read a word's tag from each layer?

Data: a folder with two files, one that has `train` in its name and one with `test`, `dev` or
`valid`, of the first kind that there is: CoNLL-U, whose tags are the parts of speech, or CoNLL
columns (.conll, .txt, .tsv), whose last column is the tag, such as an entity's. A logistic
regression on standardised states of each word's first piece is trained and scored for each layer,
0 being what the first block is given. Beside it is a control task: each word type has a random tag,
drawn in the proportions of the training tags. Selectivity is the accuracy less that of the control:
a probe that just remembers words has none. The first 10,000 words of a file count, whole sentences;
errors are taken over sentences.

Source: arXiv:1909.03368.
"""

import dataclasses
import hashlib
import pathlib
import warnings

import numpy as np

from mlm_jax import config
from mlm_jax.data.examples import token_labelling
from mlm_jax.evaluation import zero_shot

KINDS = ('masked', 'detector')
_TASK = 'probes'
_WORDS = 10_000
_ENDINGS = ('.conllu', '.conll', '.txt', '.tsv')


@dataclasses.dataclass(frozen=True)
class Tagged:
  """What a probe learns from, and what it is scored on."""

  train: list[token_labelling.Example]
  test: list[token_labelling.Example]


def read(path: str) -> Tagged:
  """Returns the sentences; UserError for a folder without the two files, or what is no sentence."""
  if not pathlib.Path(path).is_dir():
    raise config.UserError(f'{path} is no folder: probes need one with a train and a test file')
  files = [each for each in sorted(pathlib.Path(path).iterdir()) if each.suffix in _ENDINGS]
  named = lambda *kinds: [each for kind in kinds for each in files if kind in each.name]
  train = named('train')
  test = [each for each in named('test', 'dev', 'valid') if each not in train]
  if not train or not test:
    what = 'train' if not train else 'test, dev or valid'
    raise config.UserError(f'{path} has no file with {what} in its name ({", ".join(_ENDINGS)})')
  if train[0].suffix != test[0].suffix:
    raise config.UserError(f'{train[0]} and {test[0].name} must be of one kind')
  found = Tagged(_sentences(train[0]), _sentences(test[0]))
  if len({tag for each in found.train for tag in each.tags or ()}) < 2:
    raise config.UserError(f'{train[0]} has a single tag: there is nothing to tell apart')
  return found


def _sentences(path: pathlib.Path) -> list[token_labelling.Example]:
  task = config.finetuning().task
  with task.unlocked():
    task.token_labelling.scheme = 'plain'
  kept, number = [], 0
  for each in token_labelling.read(str(path), task):
    kept.append(each)
    number += len(each.tokens)
    if number >= _WORDS:
      break
  return kept


def score(examples: Tagged, scorer: zero_shot.Scorer) -> list[zero_shot.Score]:
  """Returns accuracy, that of the control task, and selectivity of each layer."""
  train, test = ([each.tokens for each in part] for part in (examples.train, examples.test))
  train_KND, *train_places = scorer.word_states(train)
  test_KND, *test_places = scorer.word_states(test)
  chosen = lambda lists, places: [lists[s][w] for s, w in zip(*places)]
  tags = {
    'accuracy': tuple(
      np.array(chosen([each.tags or () for each in part], places))
      for part, places in ((examples.train, train_places), (examples.test, test_places))
    )
  }
  shares = np.unique(tags['accuracy'][0], return_counts=True)
  tags['control_accuracy'] = tuple(
    np.array([_random_tag(word, *shares) for word in chosen(part, places)])
    for part, places in ((train, train_places), (test, test_places))
  )
  found = []
  for layer in range(len(train_KND)):
    hits = {
      metric: _hits(train_KND[layer], test_KND[layer], *both) for metric, both in tags.items()
    }
    hits['selectivity'] = hits['accuracy'] - hits['control_accuracy']
    for metric, values in hits.items():
      place = _TASK, f'layer {layer}', metric
      found.append(zero_shot.of_values(place, values, test_places[0]))
  return found


def _random_tag(word: str, tags: np.ndarray, counts: np.ndarray) -> str:
  """Returns the control tag of a word, the same wherever it stands."""
  drawn = int.from_bytes(hashlib.sha256(word.encode('utf-8', 'replace')).digest()[:8]) / 2**64
  return tags[min(np.searchsorted(np.cumsum(counts) / counts.sum(), drawn), len(tags) - 1)]


def _hits(
  train_ND: np.ndarray, test_MD: np.ndarray, train_N: np.ndarray, test_M: np.ndarray
) -> np.ndarray:
  """Returns float64 [M]: whether each test word's tag is found."""
  from sklearn import exceptions
  from sklearn import linear_model
  from sklearn import pipeline
  from sklearn import preprocessing

  if len(set(train_N.tolist())) < 2:  # a control task with one tag
    return np.equal(test_M, train_N[0]).astype(np.float64)
  # Standardised: states differ in scale between layers, and the penalty depends on it.
  probe = pipeline.make_pipeline(
    preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=200)
  )
  with warnings.catch_warnings():
    # Random tags are fitted for as long as one lets it: the number of rounds is the same for all.
    warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
    probe.fit(train_ND, train_N)
  return np.equal(probe.predict(test_MD), test_M).astype(np.float64)
