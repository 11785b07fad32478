"""Which tokens belong together, by reading a text from token to token; numpy."""

import numpy as np


def units(kind, table, batch):
  """Returns int units_BL: the position of the first token of each token's unit; -1 = no unit.

  Args:
    kind: 'token', 'word', 'collocation' or 'sentence'.
    table: vocabulary.Table.
    batch: batches.Batch of numpy arrays.
  """
  B, L = batch.tokens_BL.shape
  units_BL, unit_B, closed_B = np.full((B, L), -1), np.full(B, -1), np.zeros(B, bool)
  special_V = np.isin(np.arange(table.size), table.special_ids)
  starts_V, ends_V, closes_V = (
    np.asarray(x_V) for x_V in (table.starts_V, table.ends_V, table.closes_V)
  )
  for i, token_B in enumerate(batch.tokens_BL.T):
    fresh_B = (unit_B < 0) | (batch.starts_BS == i).any(axis=1)
    if kind == 'token':
      begins_B = True
    elif kind == 'sentence':
      # A sentence that is closed takes in the punctuation behind it, no word.
      closes_B, ends_B = closes_V[token_B], ends_V[token_B]
      begins_B = closed_B & ~closes_B & ~ends_B
      closed_B = closes_B | closed_B & ends_B & ~fresh_B
    else:
      begins_B = starts_V[token_B] | ends_V[batch.tokens_BL[:, i - 1]]
      if kind == 'collocation':
        begins_B &= ~batch.joins_BL[:, i]
    unit_B = np.where(special_V[token_B], -1, np.where(fresh_B | begins_B, i, unit_B))
    units_BL[:, i] = unit_B
  return units_BL
