"""Maskers with a known defect: found in published code, or an easy mistake, and otherwise
right.
"""

import dataclasses

import jax
import numpy as np

from mlm_jax import masking
from mlm_jax.core import rng
from mlm_jax.masking import boundaries
from mlm_jax.masking import corruption
from mlm_jax.masking import sampling
from mlm_jax.masking.checks import expected
from mlm_jax.masking.units import span
from tests.masking import conftest

LENGTH = 64  # of the rows that they mask
mask_batch = jax.jit(masking.mask_batch)


def random_words(batch, key):
  """Returns uint32_BL by example, visit and key, as a masker should draw them."""
  keys_B = rng.example_keys(key, 'defect', batch.visit_B, batch.example_B2)
  return jax.vmap(lambda key: jax.random.bits(key, (LENGTH,)))(keys_B)


random_words = jax.jit(random_words)
corrupt = jax.jit(lambda policy, *args: policy.corrupt(*args))
independent_units, exact_tokens = (
  jax.jit(sampling.independent_units),
  jax.jit(sampling.exact_tokens),
)


# Maskers are made by these. ------------------------------------------------------------------


def altering(change):
  """A masker that masks change(batch) in place of the batch."""
  return lambda policy, key, batch, progress: mask_batch(policy, key, change(batch), progress)


def with_policy(part=None, **changes):
  """A masker that follows another policy than it says: with these fields, or those of a part."""

  def defective(policy, key, batch, progress):
    fields = {part: dataclasses.replace(getattr(policy, part), **changes)} if part else changes
    return mask_batch(dataclasses.replace(policy, **fields), key, batch, progress)

  return defective


def with_rate(rate):
  return with_policy('schedule', rate=np.float32(rate))


def with_shares(*probs):
  return with_policy('corruption', probs_3=np.float32(probs))


def with_schedule(kind, **changes):
  """A masker that follows another kind of schedule between the stated ends."""

  def defective(policy, key, batch, progress):
    said = policy.schedule
    numbers = {'rate': said.rate, 'final_rate': said.final_rate} | changes
    schedule = kind(**numbers)
    return mask_batch(dataclasses.replace(policy, schedule=schedule), key, batch, progress)

  return defective


def with_span_law(*law):
  return with_policy('unit', below_K=span.below(span.length_distribution(*law)))


def with_learned(change):
  """A masker that has learned change(what is said to have been learned)."""
  return lambda policy, key, batch, progress: mask_batch(
    policy.with_learned(change(policy.learned)), key, batch, progress
  )


def choosing(choose, by_unit=False):
  """A masker whose choice is choose(policy, batch, masked, random words)."""

  def defective(policy, key, batch, progress):
    masked = mask_batch(policy, key, batch, progress)
    chosen_BL = choose(policy, batch, masked, random_words(batch, key))
    inputs_BL, action_BL = corrupt(
      dataclasses.replace(policy.corruption, by_unit=by_unit),
      policy.table,
      masked.targets_BL,
      chosen_BL,
      masked.units_BL,
      random_words(batch, rng.root_key(9)),
    )
    return dataclasses.replace(
      masked, inputs_BL=inputs_BL, action_BL=action_BL, chosen_BL=chosen_BL
    )

  return defective


def replacing(ids):
  """A masker whose random replacements are ids(policy, batch, random words)."""

  def defective(policy, key, batch, progress):
    masked = mask_batch(policy, key, batch, progress)
    ids_BL = ids(policy, batch, np.asarray(random_words(batch, key)))
    inputs_BL = np.where(masked.action_BL == corruption.RANDOM, ids_BL, masked.inputs_BL)
    return dataclasses.replace(masked, inputs_BL=inputs_BL)

  return defective


def changing(change):
  """A masker that returns change(policy, masked, random words), masked in numpy."""

  def defective(policy, key, batch, progress):
    masked = jax.tree.map(np.asarray, mask_batch(policy, key, batch, progress))
    return change(policy, masked, np.asarray(random_words(batch, key)))

  return defective


# What a row's draws depend on. ---------------------------------------------------------------


def keyed_by_batch_position(batch):
  example_B2 = batch.example_B2.copy()
  example_B2[:, 1] = np.arange(len(example_B2))
  return dataclasses.replace(batch, example_B2=example_B2)


def neighbours_share_a_stream(batch):
  return dataclasses.replace(batch, example_B2=batch.example_B2 // np.uint32([1, 2]))


def sources_share_a_stream(batch):
  return dataclasses.replace(batch, example_B2=batch.example_B2 * np.uint32([0, 1]))


def visits_share_a_stream(batch):
  return dataclasses.replace(batch, visit_B=np.zeros_like(batch.visit_B))


def the_seed_is_ignored(policy, key, batch, progress):
  return mask_batch(policy, rng.root_key(0), batch, progress)


def progress_is_ignored(policy, key, batch, progress):
  return mask_batch(policy, key, batch, 0.5)


# What is chosen. -----------------------------------------------------------------------------


def padding_is_masked(policy, key, batch, progress):
  special_ids = tuple(each for each in policy.table.special_ids if each != conftest.PAD)
  table = dataclasses.replace(policy.table, special_ids=special_ids)
  return mask_batch(dataclasses.replace(policy, table=table), key, batch, progress)


def later_tokens_are_spared(policy, batch, masked, words_BL):
  share_L = np.linspace(1.3, 0.7, LENGTH, dtype=np.float32)
  pi_BL = np.broadcast_to(policy.rate * share_L, words_BL.shape)
  return independent_units(pi_BL, masked.units_BL, words_BL)


def low_ids_are_preferred(policy, batch, masked, words_BL):
  pi_BL = policy.rate * (1.2 - 0.5 * np.asarray(masked.targets_BL) / policy.table.size)
  return independent_units(pi_BL.astype(np.float32), masked.units_BL, words_BL)


def until_full(order_BL, lengths_BL, budget_B):
  """Takes units in an order and skips those that no longer fit the budget."""
  left_B, first_BL = np.round(budget_B).astype(int), np.zeros(lengths_BL.shape, bool)
  rows_B = np.arange(len(first_BL))
  for index_B in order_BL.T:
    length_B = lengths_BL[rows_B, index_B]
    first_BL[rows_B, index_B] = fits_B = (length_B > 0) & (length_B <= left_B)
    left_B -= np.where(fits_B, length_B, 0)
  return first_BL


def in_random_order_until_full(policy, batch, masked, words_BL):
  lengths_BL = np.asarray(boundaries.lengths(masked.units_BL))
  first_BL = until_full(
    np.argsort(words_BL, axis=1), lengths_BL, policy.rate * lengths_BL.sum(axis=1)
  )
  return boundaries.spread(first_BL, masked.units_BL)


def in_windows_from_the_left_until_full(policy, batch, masked, words_BL):
  """DeBERTa's: one unit in each window of so many tokens, so that the budget is spent before the
  row ends.
  """
  lengths_BL = np.asarray(boundaries.lengths(masked.units_BL))
  window_L = np.arange(LENGTH) // int(0.8 * lengths_BL[lengths_BL > 0].mean() / policy.rate)
  best_BL = np.where(lengths_BL > 0, np.asarray(words_BL).astype(np.int64), -1)
  taken_BL = np.stack(
    [
      best_BL == np.max(best_BL, axis=1, keepdims=True, where=window_L == w, initial=0)
      for w in range(window_L.max() + 1)
    ]
  ).any(axis=0)
  order_BL = np.broadcast_to(np.arange(LENGTH), lengths_BL.shape)
  first_BL = until_full(
    order_BL, np.where(taken_BL, lengths_BL, 0), policy.rate * lengths_BL.sum(axis=1)
  )
  return boundaries.spread(first_BL, masked.units_BL)


def systematically(order_BL, policy, masked, words_BL):
  """Madow's systematic sampling: where a sum of probabilities, in an order, passes an integer."""
  lengths_BL = np.asarray(boundaries.lengths(masked.units_BL))
  pi_BL = np.take_along_axis(np.where(lengths_BL > 0, float(policy.rate), 0.0), order_BL, axis=1)
  sum_BL = np.cumsum(pi_BL, axis=1) + np.asarray(words_BL)[:, :1] / 2.0**32
  first_BL = np.zeros(lengths_BL.shape, bool)
  passed_BL = np.floor(sum_BL) > np.floor(sum_BL - pi_BL)
  np.put_along_axis(first_BL, order_BL, passed_BL, axis=1)
  return boundaries.spread(first_BL, masked.units_BL)


def systematically_by_length(policy, batch, masked, words_BL):
  """Every unit at its rate and rows within their budget, but hardly two long ones together."""
  lengths_BL = np.asarray(boundaries.lengths(masked.units_BL))
  order_BL = np.lexsort((np.asarray(words_BL)[:, ::-1], lengths_BL), axis=1)
  return systematically(order_BL, policy, masked, words_BL)


def systematically_from_the_left(policy, batch, masked, words_BL):
  """Every unit at its rate and rows within their budget, but no two neighbours together."""
  order_BL = np.broadcast_to(np.arange(LENGTH), words_BL.shape)
  return systematically(order_BL, policy, masked, words_BL)


def sub_words_are_chosen_apart(policy, batch, masked, words_BL):
  return sampling.independent_tokens(np.full(len(words_BL), policy.rate), masked.units_BL, words_BL)


def the_budget_is_rounded_down(policy, batch, masked, words_BL):
  offset_B = np.zeros(len(words_BL), np.uint32)
  return exact_tokens(np.full(len(words_BL), policy.rate), masked.units_BL, offset_B, words_BL)


def the_budget_is_exact_after_all(policy, batch, masked, words_BL):
  offset_B = words_BL[:, 0] * np.uint32(7)
  return exact_tokens(np.full(len(words_BL), policy.rate), masked.units_BL, offset_B, words_BL)


def probabilities(policy, batch, masked, change):
  """Returns float32 pi_BL at units' first tokens: change(stated demand, units' lengths)."""
  units_BL = np.asarray(masked.units_BL)
  demand_BL = expected.demand(policy, batch, units_BL, np.full(len(units_BL), float(policy.rate)))
  return np.minimum(change(demand_BL, expected.lengths(units_BL)), 1).astype(np.float32)


def what_the_cap_cuts_is_lost(policy, batch, masked, words_BL):
  """c such that the sum of c weight is the budget, as if no probability could pass 1."""

  def uncapped(demand_BL, length_BL):
    budget_B1 = policy.rate * length_BL.sum(axis=1, keepdims=True)
    return (
      demand_BL * budget_B1 / np.maximum((demand_BL * length_BL).sum(axis=1, keepdims=True), 1e-9)
    )

  return independent_units(
    probabilities(policy, batch, masked, uncapped), masked.units_BL, words_BL
  )


def weights_are_not_normalized(policy, batch, masked, words_BL):
  """The weight of a piece, as if the mean over the vocabulary were that over the row."""
  weight_V = policy.selection.weight_V / policy.selection.weight_V.mean() * policy.rate
  pi_BL = np.minimum(weight_V[np.asarray(masked.targets_BL)], 1)
  return independent_units(pi_BL.astype(np.float32), masked.units_BL, words_BL)


def weights_are_flattened(policy, batch, masked, words_BL):
  def flattened(demand_BL, length_BL):
    pi_BL = np.minimum(demand_BL, 1)
    mean_B1 = pi_BL.sum(axis=1, keepdims=True) / np.maximum(
      (length_BL > 0).sum(axis=1, keepdims=True), 1
    )
    return np.where(length_BL > 0, 0.8 * pi_BL + 0.2 * mean_B1, 0)

  return independent_units(
    probabilities(policy, batch, masked, flattened), masked.units_BL, words_BL
  )


def a_unit_weighs_as_its_first_token(policy, key, batch, progress):
  """Whatever a word's later pieces are: they are given the weight of its first."""
  units_BL = np.asarray(mask_batch(policy, key, batch, progress).units_BL)
  first_BL = np.take_along_axis(batch.tokens_BL, np.maximum(units_BL, 0), axis=1)
  chosen_BL = mask_batch(
    policy,
    key,
    dataclasses.replace(
      batch, tokens_BL=np.where(policy.table.starts_V[batch.tokens_BL], batch.tokens_BL, first_BL)
    ),
    progress,
  )
  return dataclasses.replace(chosen_BL, targets_BL=batch.tokens_BL)


# What becomes of it. -------------------------------------------------------------------------


def up_to_the_largest_id_of_the_batch(policy, batch, words_BL):
  return 5 + words_BL % (batch.tokens_BL.max() - 4)


def ids_of_the_row_before(policy, batch, words_BL):
  return np.roll(batch.tokens_BL, 1, axis=0)


def any_id(policy, batch, words_BL):
  return words_BL % policy.table.size


def any_ordinary_id(policy, batch, words_BL):
  return 5 + words_BL % (policy.table.size - 5)


def any_id_of_the_text(policy, batch, words_BL):
  ids = expected.replacements(policy)[0]
  return ids[words_BL % len(ids)]


def targets_are_overwritten(policy, masked, words_BL):
  return dataclasses.replace(masked, targets_BL=masked.inputs_BL)


def kept_tokens_are_replaced(policy, masked, words_BL):
  return dataclasses.replace(
    masked, inputs_BL=np.where(masked.chosen_BL, conftest.MASK, masked.inputs_BL)
  )


def tokens_are_predicted_apart(policy, masked, words_BL):
  return dataclasses.replace(
    masked, chosen_BL=(masked.action_BL > 0) & (words_BL < policy.predict_fraction * 2**32)
  )


def kept_units_are_predicted_more_often(policy, masked, words_BL):
  share_BL = (
    np.where(masked.action_BL == corruption.KEEP, 1.5, 1 - 0.5 / 8) * policy.predict_fraction
  )
  word_BL = np.take_along_axis(words_BL, np.maximum(masked.units_BL, 0), axis=1)
  return dataclasses.replace(
    masked, chosen_BL=(masked.action_BL > 0) & (word_BL < share_BL * 2**32)
  )


def what_is_left_alone_is_predicted(policy, masked, words_BL):
  return dataclasses.replace(masked, chosen_BL=masked.chosen_BL | (masked.units_BL == 3))
