"""Loss spikes: recognised by the median of what came before, also across a restart."""

import numpy as np

from mlm_jax.training import loss_spikes


def found(losses, share=0.3, watch=None):
  """Returns {number: median} of the losses that stand out."""
  watch = watch or loss_spikes.Watch(share)
  medians = [watch.add(loss) for loss in losses]
  return {n: median for n, median in enumerate(medians) if median is not None}


def test_a_loss_stands_out_against_the_median_of_the_last_64():
  losses = np.random.default_rng(0).uniform(1, 4, 300)
  expected = {
    n: np.median(losses[max(0, n - 64) : n].astype(np.float32))
    for n in range(16, 300)
    if losses[n] > 1.3 * np.median(losses[max(0, n - 64) : n].astype(np.float32))
  }
  assert expected and found(losses) == expected


def test_nothing_stands_out_while_there_is_little_to_compare_with():
  assert found([1.0] * 15 + [9.0]) == {}
  assert found([1.0] * 16 + [9.0]) == {16: 1.0}


def test_a_share_of_0_lets_nothing_stand_out():
  assert found([1.0] * 40 + [1e6], share=0) == {}


def test_what_was_seen_survives_a_restart():
  losses = np.random.default_rng(1).uniform(1, 4, 200)
  for cut in (0, 7, 100):
    first = loss_spikes.Watch(0.3)
    found(losses[:cut], watch=first)
    again = loss_spikes.Watch(0.3, first.losses_M)
    assert found(losses[cut:], watch=again) == found(losses[cut:], watch=first)
