"""The statistical battery: does a policy do what it says?

`check(policy)` masks a synthetic batch and tests the outcome against what the policy states
(see `expected`, `expected_units`, `expected_weights`). Of the rate itself the tokens are
counted; elsewhere the units, since the tokens of one are chosen together. A unit is chosen
where it is corrupted, be it predicted or not. Where an exact budget makes counts of units vary
less than independent draws would, those tests err on the quiet side; how much the tokens of rows
vary is seen from the rows. Pairs of units are compared with draws by the definition of the
sampling, also at the rates .05, .15 and .4 where the rate is constant. All together raise a false
alarm with probability below 1e-6.

What the default, 4,096 rows of 128 tokens, finds all but surely: a rate that is off by so many
percent of itself,

  unit                 exact budget         independent draws
  rate               .05   .15    .5         .05   .15    .5
  token              1.1   0.5   0.1         7.3   4.0   1.7
  word               5.9   2.2   0.7         9.9   5.4   2.3
  collocation        8.2   3.2   1.0        11.7   6.4   2.7
  span              15.8   6.0   1.7        18.3  10.0   4.2
  sentence          32.2  17.6   5.7        32.2  17.6   7.4

where words have 1.8 tokens, collocations 2.6, spans 6.3 and sentences 19 (longer units are fewer,
and less is found); at .15, one tenth of the row that is off by 14 % (tokens), 19 % (words), 35 %
(spans) or 67 % (sentences); one id or one unit length that is off by some 10 % where it is
frequent, by 250 % where it is rare. What is off in many places at once is found earlier, and four
times the rows find what is half as large.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mlm_jax import config
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.masking import policy as policy_lib
from mlm_jax.masking import schedules
from mlm_jax.masking.checks import corruption
from mlm_jax.masking.checks import expected
from mlm_jax.masking.checks import independence
from mlm_jax.masking.checks import pairs
from mlm_jax.masking.checks import rates
from mlm_jax.masking.checks import results
from mlm_jax.masking.checks import span_lengths
from mlm_jax.masking.checks import trial as trial_lib
from mlm_jax.masking.checks import whole_units
from mlm_jax.masking.checks.results import Result

_RATES = (0.05, 0.15, 0.4)  # that pairs of units are tested at, beside the policy's own
_PROGRESS = (0.5, 0.0, 1.0)  # of the training; all tests at the first that leaves something to draw

# Of the synthetic batch: rows of three documents, of whose tokens many statistics are taken; and as
# many tokens as fill some gigabytes with what is seen of each.
_LEAST_ROWS, _LEAST_LENGTH, _MOST = 64, 16, 1 << 24

_mask_batch = jax.jit(policy_lib.mask_batch)


def check(
  policy: policy_lib.Policy,
  seed: int = 0,
  rows: int = 4096,
  length: int = 128,
  mask_batch: Callable = _mask_batch,
) -> list[Result]:
  """Returns [Result, ...]; print them with '\\n'.join(map(str, results)).

  Args:
    policy: Policy. One that adapts is checked as it has adapted so far.
    seed: of the masks and of the synthetic rows, 0 to 2**32 - 1.
    rows, length: of the synthetic batch; what the default finds is listed above.
    mask_batch: what masks, on the contract of masking.mask_batch; faster under jit.

  Raises:
    UserError: no policy, or a number out of range.
  """
  if not isinstance(policy, policy_lib.Policy):
    raise config.UserError(
      f'policy is of type {type(policy).__name__}: give what masking.make or masking.preset returns'
    )
  for name, value, least, most in (
    ('seed', seed, 0, 2**32 - 1),
    ('rows', rows, _LEAST_ROWS, _MOST),
    ('length', length, _LEAST_LENGTH, _MOST),
    ('rows x length', rows * length if type(rows) is type(length) is int else 0, 0, _MOST),
  ):
    if type(value) is not int or not least <= value <= most:
      shown = config.one_line(repr(value))
      raise config.UserError(f'{name} = {shown}: must be from {least:,} to {most:,}')
  # At a rate of 0 or 1 nothing is drawn, so that there is little to test.
  stated = [expected.rate(policy, progress) for progress in _PROGRESS]
  whole = next(
    (p for p, rate in zip(_PROGRESS, stated) if rate is None or 0 < rate < 1), _PROGRESS[0]
  )

  def mask(
    batch: batches.Batch, seed: int = seed, progress: float = whole, policy: Any = policy
  ) -> policy_lib.Masked:
    return jax.tree.map(np.asarray, mask_batch(policy, rng.root_key(seed), batch, progress))

  def attempt(batch: batches.Batch, seed: int = seed, progress: float = whole) -> trial_lib.Trial:
    return trial_lib.trial(policy, batch, mask(batch, seed, progress), seed, progress)

  trial = attempt(trial_lib.synthetic_batch(policy.table, rows, length, seed))
  found = [
    *whole_units.exclusion(trial),
    *whole_units.units(trial),
    *rates.rates(trial),
    *rates.budget(trial),
    *pairs.pairs(trial),
    *corruption.action_shares(trial),
    *corruption.predicted(trial),
    *corruption.replacements(trial),
    *independence.independence(trial, attempt, mask),
    *independence.determinism(trial, mask),
  ]
  if isinstance(policy.schedule, schedules.Constant):
    for other in (policy.with_rate(np.float32(rate)) for rate in _RATES if rate != stated[0]):
      masked = mask(trial.batch, policy=other)
      at_rate = trial_lib.with_policy(trial, other, masked, whole)
      found += pairs.pairs(at_rate, f' at rate {other.rate:g}')
  if policy.unit.draws_lengths:
    found += span_lengths.check(trial)
  if policy.schedule.per_row:
    found += rates.row_rates(trial)
  elif not isinstance(policy.schedule, schedules.Constant):
    found += [
      rates.rate(f'rate at progress {progress:g}', attempt(trial.batch, progress=progress))
      for progress in _PROGRESS
      if progress != whole
    ]
  # Each test may raise a false alarm with probability FALSE_ALARM / TESTS, TESTS times in all.
  if sum(result.p_value is not None for result in found) > results.TESTS:
    raise AssertionError('more tests than the false-alarm rate is shared among')
  return found
