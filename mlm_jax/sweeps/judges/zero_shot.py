"""A zero-shot suite, see evaluation/zero_shot."""

from collections.abc import Sequence
import dataclasses
import difflib
import functools
import pathlib
import typing
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.evaluation import zero_shot
from mlm_jax.inference import predictor
from mlm_jax.inference import zero_shot as of_runs
from mlm_jax.sweeps import judges

if typing.TYPE_CHECKING:
  from mlm_jax.sweeps import planning

_WORDS = 300  # that a probe is tried on


@dataclasses.dataclass(frozen=True)
class ZeroShot:
  """Judges by a score of a suite.

  Attributes:
    suite: NAME:PATH, the path of the data.
    metric: of the suite.
    subset: of its examples; None for all of them, of probes for the last layer.
  """

  suite: str
  metric: str
  subset: str | None = None

  def ready(self, name: str, runs: 'Sequence[planning.Run]') -> judges.Ready:
    """See judges.Judge."""
    parsed = zero_shot.parse(self.suite)
    if len(parsed) != 1:
      raise config_lib.UserError(f'suite = {self.suite!r}: must be one suite, as NAME:PATH')
    ((suite_name, path),) = parsed
    suite = zero_shot.load(suite_name)
    examples = suite.read(path)
    tokens: dict[tuple[str, int], float] = {}
    for run in judges.of_arms(runs):
      kind = _kind(run.config)
      if kind[0] not in suite.KINDS:
        raise config_lib.UserError(
          f'suite {suite_name} needs a model that predicts tokens; run {run.name} detects replaced '
          'ones'
        )
      if kind not in tokens:
        # A model that knows nothing shows which scores there are, and what they take.
        blank = _Blank(*kind)
        self._check(_named(suite.score(examples, blank)), run.name)
        tokens[kind] = blank.tokens
    return judges.Ready(
      score=self._score,
      direction=zero_shot.direction(self.metric),
      asked={'suite': suite_name, 'data': judges.digest(path)},
      # A perplexity is per piece.
      same_tokens=self.metric.endswith('perplexity'),
      what=f'{self._score} of {suite_name}',
      tokens=lambda run: tokens[_kind(run.config)],
      passes=1,
      judge=functools.partial(_judge, self.suite),
    )

  @property
  def _score(self) -> str:
    return self.metric if self.subset is None else f'{self.metric} of {self.subset}'

  def _check(self, scores: dict[str, float], run: str) -> None:
    """Raises UserError where there is no such score."""
    if not isinstance(self.metric, str) or not isinstance(self.subset, str | None):
      raise config_lib.UserError(
        f'metric = {self.metric!r}, subset = {self.subset!r}: must be text, the second may be None'
      )
    if self._score not in scores:
      near = difflib.get_close_matches(self._score, scores, 1, 0)  # cutoff 0: always one
      plain = ', '.join(each for each in scores if ' of ' not in each)
      raise config_lib.UserError(
        f'run {run} has no {self._score!r} there; did you mean {near[0]!r}? Its metrics are {plain}'
      )


def _kind(config: config_lib.Config) -> tuple[str, int]:
  """Returns the kind of Scorer that a config's run is, and how many layers it has."""
  kind = 'detector' if config.objective.name == 'rtd' else 'masked'
  return kind, config.model.layers


def _named(scores: Sequence[Any]) -> dict[str, float]:
  """Returns {metric of subset: value}, and by its metric alone the last one of it."""
  given = {f'{each.metric} of {each.subset}': each.score for each in scores}
  return given | {each.metric: each.score for each in scores}


def _judge(
  suite: str, run: 'planning.Run', folder: pathlib.Path, step: int, log: judges.Log
) -> dict[str, float]:
  found = of_runs.evaluate(predictor.open_run(folder, step, log), suite)
  return _named([zero_shot.Score(**each) for each in found['scores']])


class _Blank:
  """A zero_shot.Scorer for which all is equally likely.

  Attributes:
    kind: as said.
    tokens: that a model would compute; a word counts as one piece.
  """

  def __init__(self, kind: str, layers: int):
    self.kind, self._layers, self.tokens = kind, layers, 0.0

  def text_scores(self, texts: Sequence[str], within_word: bool = False) -> list[np.ndarray]:
    words_N = np.array([len(text.split()) for text in texts], np.float64)
    # Each piece is hidden in a copy of its text.
    self.tokens += float((words_N**2 if self.kind == 'masked' else words_N).sum())
    return [np.zeros(1)] * len(texts)

  def blank_scores(self, blanks: Sequence[zero_shot.Blank]) -> list[list[np.ndarray]]:
    self.tokens += sum(len((each.before + each.after).split()) + 1 for each in blanks)
    return [[np.zeros(1)] * len(each.options) for each in blanks]

  def word_states(
    self, sentences: Sequence[Sequence[str]]
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    self.tokens += sum(map(len, sentences))
    # The first words will do: probes are trained on them.
    places = [(s, w) for s, words in enumerate(sentences) for w in range(len(words))][:_WORDS]
    sentence_n, word_n = np.array(places).T
    return np.zeros((self._layers + 1, len(places), 1), np.float32), sentence_n, word_n
