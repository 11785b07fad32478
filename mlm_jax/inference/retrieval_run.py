"""A run of retrieval opened for use: the documents that answer a query."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.data.examples import retrieval
from mlm_jax.evaluation import hard_negatives
from mlm_jax.evaluation import search
from mlm_jax.inference import rows as rows_lib
from mlm_jax.inference import task_run
from mlm_jax.objectives import contrastive


class Hit(NamedTuple):
  """A document that was found.

  Attributes:
    number: of it, from 0.
    score: the cosine.
  """

  number: int
  score: float


class RetrievalRun(task_run.TaskRun):
  """A fine-tuned bi-encoder with its tokenizer."""

  def search(
    self, queries: Iterable[str], documents: Iterable[str], k: int = 10
  ) -> list[list[Hit]]:
    """Returns, for each query in turn, the k nearest documents, the best first.

    The prompts that the run was trained with are put before both. Vectors to keep are those of
    `embed(texts, prompt='document')`, with prompt='query' for queries.

    Args:
      queries, documents: texts.
      k: how many; all of them where there are fewer.

    Raises:
      UserError: no lists of texts, or a number below 1.
    """
    if not isinstance(k, int | np.integer) or k < 1:
      raise config_lib.UserError(f'k = {k!r}: must be a whole number above 0')
    queries_QD = self._vectors(retrieval.QUERY, rows_lib.checked(queries))
    documents_ND = self._vectors(retrieval.DOCUMENT, rows_lib.checked(documents))
    if not len(queries_QD) or not len(documents_ND):
      return [[] for _ in queries_QD]
    scores_QK, numbers_QK = search.top(queries_QD, documents_ND, int(k))
    return [
      [Hit(*each) for each in zip(numbers, scores)]
      for numbers, scores in zip(numbers_QK.tolist(), scores_QK.tolist())
    ]

  def hard_negatives(
    self,
    pairs: Sequence[tuple[str, str]],
    documents: Sequence[str],
    number: int = 1,
    margin: float = 0.05,
  ) -> list[list[str]]:
    """Returns, for each pair in turn, documents to train with as negatives, the nearest first.

    None of them answers the query in any pair, and none is nearer to it than 1 - margin of the
    pair's own cosine: see evaluation/hard_negatives.py.

    Args:
      pairs: (query, a document that answers it).
      documents: texts among which negatives are looked for.
      number: of them a pair, at most.
      margin: from 0 to 1.

    Raises:
      UserError: as `search`.
    """
    texts = dict.fromkeys([*(answer for _, answer in pairs), *rows_lib.checked(documents)])
    place = {text: n for n, text in enumerate(texts)}
    asked = {query: n for n, query in enumerate(dict.fromkeys(query for query, _ in pairs))}
    if not pairs:
      return []
    found = hard_negatives.mine(
      self._vectors(retrieval.QUERY, rows_lib.checked(asked)),
      self._vectors(retrieval.DOCUMENT, list(texts)),
      [(asked[query], place[answer]) for query, answer in pairs],
      number,
      margin,
    )
    listed = list(texts)
    return [[listed[n] for n in each] for each in found]

  def _vectors(self, kind: str, texts: list[str]) -> np.ndarray:
    """Returns float32 [n, D]."""
    examples = list(retrieval.texts(kind, {str(n): text for n, text in enumerate(texts)}))
    found = self.outputs(examples) if examples else []
    return np.array([each[contrastive.EMBEDDING] for each in found], np.float32)

  def predictions(self, examples: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yields the ranking of each query among examples; all of them are in memory."""
    whole = list(examples)
    yield from self._task.predictions(self.outputs(whole), whole, self.facts)
