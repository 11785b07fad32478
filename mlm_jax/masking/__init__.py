"""Masking policies: what is hidden from the model, and what it sees instead."""

from mlm_jax.masking.adaptive import adapt, counted
from mlm_jax.masking.battery import Result, check
from mlm_jax.masking.policy import Masked, Policy, make, mask_batch, preset
from mlm_jax.masking.selection import Row
