"""Masking rates from .05 to .9: is there a flat region, and a cliff?"""

from mlm_jax import config
from mlm_jax import sweeps


def get_sweep():
  rates = sweeps.param('masking.rate', [0.05, 0.15, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9])
  return sweeps.Sweep(
    question='How much of a text should be masked?',
    base=config.load('configs/ablation_small.py'),
    runs=sweeps.product(rates, sweeps.seeds(3)),
    budget='tokens',
    baseline='rate=0.15',
    negative_control='rate=0.9',
    # Every rate beside the usual one, and the two ends of what may be flat.
    contrasts=[
      *((f'rate={rate}', 'rate=0.15') for rate in (0.05, 0.3, 0.4, 0.5, 0.6, 0.8)),
      ('rate=0.5', 'rate=0.3'),
    ],
  )
