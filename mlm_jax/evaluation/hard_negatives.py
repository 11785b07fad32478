"""Documents that are near to a query and do not answer it, to be trained with as negatives."""

from collections.abc import Sequence

import numpy as np

from mlm_jax.evaluation import search


def mine(
  queries_QD: np.ndarray,
  documents_ND: np.ndarray,
  pairs: Sequence[tuple[int, int]],
  number: int,
  margin: float = 0.05,
  depth: int = 100,
) -> list[list[int]]:
  """Returns the numbers of the hard negatives of each pair, the nearest first.

  They are the nearest documents but those that any pair has as an answer of the query, and those
  whose score is above (1 - margin) of the pair's own: so near, they may answer it too (the relative
  margin of arXiv:2407.15831, section 3.2).

  Args:
    queries_QD, documents_ND: float32 vectors of length 1.
    pairs: (query, the document that answers it).
    number: of negatives a pair; there are fewer where the nearest documents have no more.
    margin: as said, from 0 to 1.
    depth: how many of the nearest documents are looked at.
  """
  known: dict[int, set[int]] = {}
  for query, document in pairs:
    known.setdefault(query, set()).add(document)
  scores_QK, numbers_QK = search.top(queries_QD, documents_ND, depth)
  found = []
  for query, document in pairs:
    own = float(queries_QD[query] @ documents_ND[document])
    most = own - margin * abs(own)  # also where the pair itself is far apart
    is_one_K = (scores_QK[query] <= most) & ~np.isin(numbers_QK[query], list(known[query]))
    found.append(numbers_QK[query][is_one_K][:number].tolist())
  return found
