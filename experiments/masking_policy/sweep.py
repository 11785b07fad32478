"""Tokens, words, spans, collocations or rare pieces, at equal tokens: does it matter what is
masked?
"""

from mlm_jax import config
from mlm_jax import sweeps


def get_sweep():
  base = config.load(
    'configs/ablation_small.py', [('masking.rate', '0.3'), ('data.collocations', '5000')]
  )
  arms = sweeps.chain(
    sweeps.param('masking.unit', ['token', 'word', 'span', 'collocation']),
    sweeps.param('masking.selection', ['frequency']),
    sweeps.param('masking.rate', [0.9]),
  )  # must lose, else the runs can tell nothing
  return sweeps.Sweep(
    question='Does it matter what is masked, at equal tokens?',
    base=base,
    runs=sweeps.product(arms, sweeps.seeds(3)),
    budget='tokens',
    baseline='unit=token',
    negative_control='rate=0.9',
    # Each unit beside single tokens, under the masks of either.
    contrasts=[
      *(
        (f'unit={unit}', 'unit=token', f'unit={under}')
        for unit in ('word', 'span', 'collocation')
        for under in (unit, 'token')
      ),
      ('selection=frequency', 'unit=token', 'unit=token'),
    ],
  )
