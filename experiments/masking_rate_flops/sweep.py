"""The masking rates of experiments/masking_rate, at equal FLOPs in place of equal tokens."""

from mlm_jax import config
from mlm_jax import sweeps


def get_sweep():
  rates = sweeps.param('masking.rate', [0.15, 0.3, 0.4, 0.5, 0.6, 0.8])
  return sweeps.Sweep(
    question='How much of a text should be masked, at equal FLOPs?',
    base=config.load('configs/ablation_small.py'),
    runs=sweeps.product(rates, sweeps.seeds(3)),
    budget='flops',
    baseline='rate=0.15',
    negative_control='rate=0.8',
    # Every rate beside the usual one, and the two ends of what may be flat.
    contrasts=[
      *((f'rate={rate}', 'rate=0.15') for rate in (0.3, 0.4, 0.5, 0.6)),
      ('rate=0.5', 'rate=0.3'),
    ],
  )
