"""What rows may say beside their tokens: optional columns, all declared here.

To add a column, write what gives its values (see `column`) and declare it in COLUMNS: the
preparation, the store and the loader take it from here to `Batch.columns`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlm_jax.data.annotations import column
from mlm_jax.data.annotations import pmi
from mlm_jax.data.annotations import word_classes

COLUMNS = (
  # The token is in one collocation with the token before it.
  column.Column('joins_BL', bool, setting='collocations', of_rows=pmi.Marker),
  # The class of the token's word, from 1 on in the order of the manifest's classes; 0 for none.
  column.Column('classes_BL', np.uint8, setting='classes', of_documents=word_classes.make),
  # 1 for a right pair of sentences, 2 for a wrong one; made with the pairs (see `rows`).
  column.Column('pairs_BS', np.uint8, setting='pairs'),
)


def asked(settings: Mapping) -> tuple[column.Column, ...]:
  """Returns the columns that `config.data`, or a manifest's settings, ask for."""
  return tuple(each for each in COLUMNS if settings[each.setting])


def makers(data: Any, sources: Any) -> dict[column.Column, column.OfDocuments]:
  """Returns what gives the values of each column that the documents give.

  Args:
    data: `config.data`.
    sources: see `sources.parse`.

  Raises:
    UserError: the settings and the sources do not fit.
  """
  return {
    each: each.of_documents(data, sources) for each in asked(data) if each.of_documents is not None
  }
