"""The statistical battery: does a policy do what it says?

`check(policy)` masks a synthetic batch and tests the outcome against what the policy
states (see `laws`). Units, not tokens, are what is counted, since the tokens of one unit
are chosen together; a unit is chosen where it is corrupted, be it predicted or not. Where
an exact budget makes counts vary less than independent draws would, the tests err on the
quiet side. All together raise a false alarm with probability below 1e-6.
"""

import jax
import numpy as np

from mlm_jax import rng
from mlm_jax.masking import policy as policy_lib
from mlm_jax.masking.battery import choice
from mlm_jax.masking.battery import company
from mlm_jax.masking.battery import laws
from mlm_jax.masking.battery import outcome
from mlm_jax.masking.battery import results
from mlm_jax.masking.battery import spans
from mlm_jax.masking.battery import trial as trial_lib
from mlm_jax.masking.battery.results import Result

_PROGRESS = (0.5, 0.0, 1.0)  # of the training; all tests at the first that leaves something to draw

_mask_batch = jax.jit(policy_lib.mask_batch)


def check(policy, seed=0, rows=4096, length=128, mask_batch=_mask_batch):
  """Returns [Result, ...]; print them with '\\n'.join(map(str, results)).

  Args:
    policy: Policy. One that adapts is checked as it has adapted so far.
    seed: of the masks and of the synthetic rows.
    rows, length: of the synthetic batch. The default finds a rate that is off by
      2 % (of itself) and a unit length, decile or group of ids that is off by 10 %.
    mask_batch: what masks, on the contract of masking.mask_batch; faster under jit.
  """
  stated = [laws.rate(policy, progress) for progress in _PROGRESS]
  whole = next((p for p, rate in zip(_PROGRESS, stated) if rate is None or 0 < rate < 1), _PROGRESS[0])

  def attempt(batch, seed=seed, progress=whole):
    masked = jax.tree.map(np.asarray, mask_batch(policy, rng.root_key(seed), batch, progress))
    return trial_lib.trial(policy, batch, masked, seed, progress)

  trial = attempt(trial_lib.synthetic_batch(policy.table, rows, length, seed))
  found = [
      *choice.exclusion(trial), *choice.units(trial), *choice.rates(trial), *choice.budget(trial),
      *outcome.split(trial), *outcome.predicted(trial), *outcome.replacements(trial),
      *company.independence(trial, attempt), *company.determinism(trial, attempt)]
  if policy.unit == 'span':
    found += spans.check(trial)
  if policy.schedule == 'row':
    found += choice.row_rates(trial)
  elif policy.schedule != 'constant':
    found += [choice.rate(f'rate at progress {progress:g}', attempt(trial.batch, progress=progress))
              for progress in _PROGRESS if progress != whole]
  if sum(result.p_value is not None for result in found) > results.TESTS:
    raise AssertionError('more tests than the false-alarm rate is shared among')
  return found
