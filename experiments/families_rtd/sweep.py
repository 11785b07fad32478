"""The families that detect what a generator has replaced, beside those of experiments/families.

Scored by the masked loss of the generator: half the layers, as wide as the discriminator.
"""

from mlm_jax import config
from mlm_jax import sweeps


def get_sweep():
  few = {
    'model.family': 'electra',
    'model.size': 'base',
    'model.layers': 2,
    'total_steps': 2500,
    'masking.rate': 0.3,
    'objective.name': 'rtd',
    'objective.generator_layers': 0.5,
    'objective.generator_width': 1.0,
  }
  arm = lambda family, init: [{'model.family': family, 'model.init': init}]
  gdes = [{'objective.sharing': 'gdes', 'model.deberta.buckets': 32}]
  arms = sweeps.chain(
    arm('electra', 'neighbours'),
    arm('electra', 'normal'),
    sweeps.product(arm('deberta_v3', 'normal'), gdes),
    # Must lose, else the runs can tell nothing.
    sweeps.product(arm('electra', 'neighbours'), sweeps.param('masking.rate', [0.9])),
  )
  return sweeps.Sweep(
    question='What do ELECTRA and DeBERTa-v3 make of the same rows, masks, steps and optimizer?',
    base=config.overlay(config.load('configs/ablation_small.py'), few),
    runs=sweeps.product(arms, sweeps.seeds(3)),
    budget='tokens',
    baseline='family=electra_init=neighbours',
    negative_control='family=electra_init=neighbours_rate=0.9',
    contrasts=[
      ('family=electra_init=normal', 'family=electra_init=neighbours'),
      ('family=deberta_v3_init=normal_sharing=gdes_buckets=32', 'family=electra_init=normal'),
    ],
  )
