"""The statistical battery: does a policy do what it says?

`check(policy)` masks a synthetic batch and tests the outcome. Units, not tokens,
are what is counted, since the tokens of one unit are chosen together. Where an
exact budget makes counts vary less than independent draws would, the tests err
on the quiet side. All together raise a false alarm with probability below 1e-6.
"""

import dataclasses

import jax
import numpy as np
from scipy import special

from mlm_jax import batches
from mlm_jax import rng
from mlm_jax.masking import corruption
from mlm_jax.masking import policy as policy_lib

FALSE_ALARM = 1e-6  # of the whole battery
_STATISTICAL_TESTS = 16  # at most, of which each may use an equal part
_CELLS = 256  # groups of ids at most
_EXPECTED = 20  # counts in a cell of a chi-squared test at least

_mask_batch = jax.jit(policy_lib.mask_batch)


@dataclasses.dataclass(frozen=True)
class Result:
  """One test's outcome.

  Attributes:
    name: the property.
    statistic: z, chi-squared, or the number of violations.
    p_value: two-sided, or of the upper tail for chi-squared; None where not one
      violation is allowed.
    passed: whether the property holds.
    detail: what was seen and what was expected.
  """
  name: str
  statistic: float
  p_value: float | None
  passed: bool
  detail: str

  def __str__(self):
    p = 'exact' if self.p_value is None else f'p = {self.p_value:.2g}'
    return f'{"ok  " if self.passed else "FAIL"}  {self.name:<38}  {p:<12}  {self.detail}'


def check(policy, seed=0, rows=4096, length=128, mask_batch=_mask_batch):
  """Returns [Result, ...]; print them with '\\n'.join(map(str, results)).

  Args:
    policy: Policy.
    seed: of the masks and of the synthetic rows.
    rows, length: of the synthetic batch. The default finds a rate that is off by
      2 % (of itself) and a unit length, decile or group of ids that is off by 10 %.
    mask_batch: what masks, on the contract of masking.mask_batch; faster under jit.
  """
  batch = synthetic_batch(policy.table, rows, length, seed)

  def mask(batch, seed=seed):
    return jax.tree.map(np.asarray, mask_batch(policy, rng.root_key(seed), batch))

  masked = mask(batch)
  results = [
      *_exclusion(policy, batch, masked),
      *_units(policy, batch, masked),
      *_rates(policy, masked),
      *_budget(policy, masked),
      *_split(policy, masked),
      *_replacements(policy, masked),
      *_independence(policy, batch, masked, mask),
      *_determinism(batch, masked, mask),
  ]
  if sum(result.p_value is not None for result in results) > _STATISTICAL_TESTS:
    raise AssertionError('more tests than the false-alarm rate is shared among')
  return results


def synthetic_batch(table, rows, length, seed):
  """Returns a Batch of several documents a row, some with padding.

  Its tokens favour low ids and leave out the highest quarter, so that
  replacements drawn from the batch or only up to its largest id show.
  """
  g = np.random.default_rng(seed)
  ordinary = np.setdiff1d(np.arange(table.size), table.special_ids)
  ordinary = ordinary[:max(1, 3 * len(ordinary) // 4)]
  others = [each for each in table.special_ids if each != table.mask_id] or [table.mask_id]
  tokens_BL = ordinary[(g.random((rows, length)) ** 1.5 * len(ordinary)).astype(int)]
  index_L = np.arange(length)
  cut_B2 = np.sort(g.integers(3, length - 1, (rows, 2)), axis=1)
  filled_B = np.where(g.random(rows) < 0.25, g.integers(4, length, rows), length)
  starts_B3 = np.concatenate([np.zeros((rows, 1), int), cut_B2], axis=1)
  starts_B3 = np.where(starts_B3 < filled_B[:, None], starts_B3, -1)
  # Each document opens and closes with special tokens; whatever is left is padding.
  opens_BL = (starts_B3[:, :, None] == index_L).any(axis=1)
  closes_BL = np.roll(opens_BL, -1, axis=1) | (index_L == filled_B[:, None] - 1)
  tokens_BL = np.where(opens_BL, others[0], np.where(closes_BL, others[-1], tokens_BL))
  tokens_BL = np.where(index_L < filled_B[:, None], tokens_BL, others[0])
  example_B2 = np.stack([np.zeros(rows), np.arange(rows)], axis=1)
  return batches.Batch(tokens_BL.astype(np.int32), starts_B3.astype(np.int32),
                       example_B2.astype(np.uint32), np.zeros(rows, np.uint32))


def _statistical(name, statistic, p_value, detail):
  passed = bool(p_value >= FALSE_ALARM / _STATISTICAL_TESTS)
  return Result(name, float(statistic), float(p_value), passed, detail)


def _exact(name, violations, detail=''):
  """Of `violations`, a boolean array, none may hold."""
  count = int(np.sum(violations))
  return Result(name, count, None, count == 0, f'{count} violations' + (f'; {detail}' if detail else ''))


def _normal(name, difference, variance, detail):
  """Tests a difference from its mean, normal with the given variance."""
  if variance == 0:
    return _exact(name, difference != 0, detail)
  z = difference / np.sqrt(variance)
  return _statistical(name, z, special.erfc(abs(z) / np.sqrt(2)), f'{detail}, z = {z:.2f}')


def _chi_squared(name, counts_C, totals_C, probability):
  """Tests counts out of totals against one probability, cell by cell."""
  # Cells in which too little is expected for the approximation are left out.
  used_C = totals_C * min(probability, 1 - probability or 1) >= _EXPECTED
  counts_C, totals_C = counts_C[used_C], totals_C[used_C]
  seen = counts_C / totals_C
  detail = (f'{len(seen)} cells, {seen.min():.4f} to {seen.max():.4f}, expected {probability:.4f}'
            if len(seen) else 'nothing to test')
  if probability >= 1 or not len(seen):
    return _exact(name, counts_C != totals_C, detail)
  difference_C = counts_C - totals_C * probability
  statistic = np.sum(difference_C**2 / (totals_C * probability * (1 - probability)))
  return _statistical(name, statistic, special.chdtrc(len(seen), statistic), detail)


def _firsts(masked):
  """Returns bool_BL, true at each unit's first token."""
  return masked.units_BL == np.arange(masked.units_BL.shape[1])


def _exclusion(policy, batch, masked):
  special_BL = np.isin(batch.tokens_BL, policy.table.special_ids)
  action_BL, inputs_BL, targets_BL = masked.action_BL, masked.inputs_BL, masked.targets_BL
  replaced_BL = action_BL == corruption.RANDOM
  yield _exact('special tokens and padding stay', masked.chosen_BL & special_BL)
  yield _exact('only special tokens are no unit', (masked.units_BL < 0) != special_BL)
  yield _exact('targets are the original tokens', targets_BL != batch.tokens_BL)
  yield _exact('an action where chosen, only there',
               (action_BL != corruption.NONE) != masked.chosen_BL)
  same_BL = np.isin(action_BL, (corruption.NONE, corruption.KEEP))
  yield _exact('inputs follow the action',
               ((action_BL == corruption.MASK) & (inputs_BL != policy.table.mask_id))
               | (same_BL & (inputs_BL != targets_BL)))
  ordinary = np.setdiff1d(np.arange(policy.table.size), policy.table.special_ids)
  yield _exact('replacements are ordinary ids', replaced_BL & ~np.isin(inputs_BL, ordinary))


def _units(policy, batch, masked):
  units_BL, first_BL = masked.units_BL, np.maximum(masked.units_BL, 0)
  number_BL = batches.segments(batch.tokens_BL, batch.starts_BS, -1)
  inside_BL = units_BL >= 0
  at_first = lambda values_BL: np.take_along_axis(np.asarray(values_BL), first_BL, axis=1)
  joined_BL = units_BL[:, 1:] == units_BL[:, :-1]
  starts_BL = np.concatenate([inside_BL[:, :1], ~joined_BL & inside_BL[:, 1:]], axis=1)
  yield _exact('units are unbroken', starts_BL != _firsts(masked))
  yield _exact('units stay in their document', inside_BL & (at_first(number_BL) != number_BL))
  yield _exact('units are chosen whole', inside_BL & (at_first(masked.chosen_BL) != masked.chosen_BL))
  if policy.unit != 'token':
    yield _exact('units have one action', inside_BL & (at_first(masked.action_BL) != masked.action_BL))


def _rates(policy, masked):
  rate = float(policy.rate)
  first_BL = _firsts(masked)
  chosen_BL = masked.chosen_BL & first_BL
  total = first_BL.sum()
  yield _normal('rate', chosen_BL.sum() - rate * total, total * rate * (1 - rate),
                f'{chosen_BL.sum() / total:.5f} of the units, expected {rate:.5f}')

  def uniform(name, cells_BL):
    count = lambda what_BL: np.bincount(cells_BL[what_BL], minlength=cells_BL.max() + 1)
    return _chi_squared(name, count(chosen_BL), count(first_BL), rate)

  length = first_BL.shape[1]
  tenth_BL = np.broadcast_to(np.arange(length) * 10 // length, first_BL.shape)
  yield uniform('rate in each tenth of the row', tenth_BL)
  size = policy.table.size
  yield uniform('rate of each group of ids', masked.targets_BL * min(_CELLS, size) // size)
  if policy.unit != 'token':
    size_BL = np.stack([np.bincount(row[row >= 0], minlength=length) for row in masked.units_BL])
    yield uniform('rate of each unit length', np.minimum(size_BL, 8))


def _budget(policy, masked):
  rate = float(policy.rate)
  rows, length = masked.units_BL.shape
  cap = policy.cap(rows, length)
  yield _exact('the prediction buffer suffices', masked.chosen_BL.sum() > cap,
               f'{masked.chosen_BL.sum()} tokens, room for {cap}')
  if policy.budget == 'exact':
    n_B = (masked.units_BL >= 0).sum(axis=1)
    longest_B = np.array([np.bincount(row[row >= 0], minlength=1).max() for row in masked.units_BL])
    error_B = np.abs(masked.chosen_BL.sum(axis=1) - rate * n_B)
    yield _exact('each row keeps its budget', (error_B >= longest_B + 1e-4) & (n_B > 0),
                 f'off by {error_B.max():.2f} tokens at most')
    if policy.unit == 'token':
      part_B = rate * n_B % 1
      excess_B = masked.chosen_BL.sum(axis=1) - rate * n_B
      yield _normal('the budget is not rounded one way', excess_B.sum(),
                    np.sum(part_B * (1 - part_B)), f'{excess_B.mean():+.4f} tokens a row')
  elif rate < 1:
    first_BL = _firsts(masked)
    n_B = first_BL.sum(axis=1)
    chosen_B = (first_BL & masked.chosen_BL).sum(axis=1)[n_B > 0]
    variance_B = n_B[n_B > 0] * rate * (1 - rate)
    squares_B = (chosen_B - rate * n_B[n_B > 0]) ** 2 / variance_B
    yield _normal('counts vary as independent draws', np.sum(squares_B - 1),
                  np.sum(2 + (1 - 6 * rate * (1 - rate)) / variance_B),
                  f'{squares_B.mean():.3f} of the binomial variance')


def _split(policy, masked):
  items_BL = masked.chosen_BL & (_firsts(masked) if policy.unit != 'token' else True)
  action = masked.action_BL[items_BL]
  for number, name, share in zip((corruption.MASK, corruption.RANDOM, corruption.KEEP),
                                 ('[MASK]', 'random', 'kept'), policy.split_3):
    seen, share = np.sum(action == number), float(share)
    yield _normal(f'share {name}', seen - share * len(action), len(action) * share * (1 - share),
                  f'{seen / max(len(action), 1):.4f}, expected {share:.4f}')


def _replacements(policy, masked):
  ordinary = np.setdiff1d(np.arange(policy.table.size), policy.table.special_ids)
  replaced = masked.inputs_BL[masked.action_BL == corruption.RANDOM]
  drawn = np.bincount(np.clip(replaced, 0, policy.table.size - 1), minlength=policy.table.size)[ordinary]
  groups = int(np.clip(len(replaced) / _EXPECTED, 1, min(_CELLS, len(ordinary))))
  group_of_id = np.arange(len(ordinary)) * groups // len(ordinary)
  counts = np.bincount(group_of_id, weights=drawn)
  expected = np.bincount(group_of_id) / len(ordinary) * drawn.sum()
  statistic = np.sum((counts - expected) ** 2 / np.maximum(expected, 1e-9))
  p_value = special.chdtrc(groups - 1, statistic) if groups > 1 else 1.0
  yield _statistical('replacements are uniform over ids', statistic, p_value,
                     f'{len(replaced)} draws over {len(ordinary)} ids in {groups} groups')


def _independence(policy, batch, masked, mask):
  rate = float(policy.rate)
  # Under an exact budget units of one length exclude each other, in both rows alike
  # where the units are the same: two of a length, the worst case, double the variance.
  spread = 2 if policy.budget == 'exact' and policy.unit != 'token' else 1

  def unrelated(name, ours, theirs):
    """Rows that should share nothing: how often the same unit start is chosen in both."""
    both_BL = _firsts(ours) & _firsts(theirs)
    product = np.where(both_BL, (ours.chosen_BL - rate) * (theirs.chosen_BL - rate), 0).sum()
    return _normal(f'independent of {name}', product, spread * both_BL.sum() * (rate * (1 - rate)) ** 2,
                   f'correlation {product / max(both_BL.sum() * rate * (1 - rate), 1e-9):.5f}')

  again = lambda visit: dataclasses.replace(batch, visit_B=np.full_like(batch.visit_B, visit))
  pick = lambda part: jax.tree.map(lambda x: x[part], masked)
  yield unrelated('the neighbouring row', pick(slice(None, None, 2)), pick(slice(1, None, 2)))
  if policy.copies != 1:
    yield unrelated('the visit before', masked, mask(again(1)))
  if policy.copies:
    yield _exact('copies return', masked.inputs_BL != mask(again(policy.copies)).inputs_BL)
  elsewhere_B2 = batch.example_B2 + np.array([1, 0], np.uint32)
  yield unrelated('the same row of another source',
                  masked, mask(dataclasses.replace(batch, example_B2=elsewhere_B2)))
  yield unrelated('another seed', masked, mask(batch, seed=1))


def _determinism(batch, masked, mask):
  """The same rows, masked in other company."""
  order = np.random.default_rng(0).permutation(len(batch.visit_B))
  take = lambda tree, part: jax.tree.map(lambda x: x[part], tree)

  def differ(part):
    ours, theirs = take(masked, part), mask(take(batch, part))
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return sum(int(np.sum(a != b)) for a, b in pairs)

  yield _exact('the same in any row order', differ(order))
  half = len(order) // 2
  yield _exact('the same in any batch split', [differ(slice(0, half)), differ(slice(half, 2 * half))])
