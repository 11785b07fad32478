"""The encoder families at one small size: the same rows, masks, steps and optimizer.

Initial values decide whether so small an encoder learns at all within so few steps, so families are
compared only from the same ones, and those that can start from neighbours do both.
"""

from mlm_jax import config
from mlm_jax import sweeps


def get_sweep():
  # All families have a size of this name; width, heads and the rest are those of the recipe.
  few = {'model.size': 'base', 'model.layers': 2, 'total_steps': 2500, 'masking.rate': 0.3}
  arm = lambda family, init: [{'model.family': family, 'model.init': init}]
  arms = sweeps.chain(
    arm('bert', 'neighbours'),
    arm('bert', 'normal'),
    arm('roberta', 'neighbours'),
    arm('roberta', 'normal'),
    arm('deberta', 'normal'),
    sweeps.product(arm('modernbert', 'normal'), sweeps.param('model.modernbert.window', [32])),
    # Must lose, else the runs can tell nothing.
    sweeps.product(arm('bert', 'neighbours'), sweeps.param('masking.rate', [0.9])),
  )
  return sweeps.Sweep(
    question='What do the families make of the same rows, masks, steps and optimizer?',
    base=config.overlay(config.load('configs/ablation_small.py'), few),
    runs=sweeps.product(arms, sweeps.seeds(3)),
    budget='tokens',
    baseline='family=bert_init=neighbours',
    negative_control='family=bert_init=neighbours_rate=0.9',
    # What the start from neighbours is worth, then families beside each other from the same start.
    contrasts=[
      ('family=bert_init=normal', 'family=bert_init=neighbours'),
      ('family=roberta_init=normal', 'family=roberta_init=neighbours'),
      ('family=roberta_init=neighbours', 'family=bert_init=neighbours'),
      ('family=deberta_init=normal', 'family=bert_init=normal'),
      ('family=modernbert_init=normal_window=32', 'family=bert_init=normal'),
    ],
  )
