"""A constant, a falling and a rising masking rate, at an equal number of predictions."""

from mlm_jax import config
from mlm_jax import sweeps


def get_sweep():
  falling, rising = (0.45, 0.15), (0.15, 0.45)
  arms = sweeps.chain(
    [{'masking.schedule': 'constant', 'masking.rate': 0.3}],
    [
      {'masking.schedule': shape, 'masking.rate': a, 'masking.final_rate': b}
      for shape in ('linear', 'cosine')
      for a, b in (falling, rising)
    ],
    [{'masking.schedule': 'constant', 'masking.rate': 0.8}],
  )  # must lose, else the runs can tell nothing
  name = 'schedule={}_rate={}_final_rate={}'
  falls = [name.format(shape, *falling) for shape in ('linear', 'cosine')]
  rises = [name.format(shape, *rising) for shape in ('linear', 'cosine')]
  constant = 'schedule=constant_rate=0.3'
  return sweeps.Sweep(
    question='Should the masking rate fall, rise or stay, at an equal number of predictions?',
    base=config.load('configs/ablation_small.py'),
    runs=sweeps.product(arms, sweeps.seeds(3)),
    budget='predictions',
    baseline=constant,
    negative_control='schedule=constant_rate=0.8',
    # Each schedule beside the constant rate, and falling beside rising rates.
    contrasts=[
      *((arm, constant) for arm in (*falls, *rises)),
      *zip(falls, rises),
    ],
  )
