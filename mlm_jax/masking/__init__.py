"""Masking policies: what is hidden from the model, and what it sees instead."""

from mlm_jax.masking.checks import Result
from mlm_jax.masking.checks import check
from mlm_jax.masking.own_selection import Row
from mlm_jax.masking.policy import Masked
from mlm_jax.masking.policy import Policy
from mlm_jax.masking.policy import adapt
from mlm_jax.masking.policy import make
from mlm_jax.masking.policy import mask_batch
from mlm_jax.masking.policy import preset

__all__ = [
  'Masked',
  'Policy',
  'Result',
  'Row',
  'adapt',
  'check',
  'make',
  'mask_batch',
  'preset',
]
