"""A small encoder on a few dozen novels, for two CPU cores.

  mlm-jax train --config=novels_small \
    --config.data.source='text:novels/*.txt' --workdir=runs/novels
  mlm-jax train --config=novels_small:smoke --workdir=runs/smoke   # a minute, CPU

Expected: on 67 English novels (51 MB) the reference loss ends at 4.545, 2.004 nats below a unigram
and .375 below a bigram guess, in one run; see experiments/novels_small/NOTES.md.

It starts with attention to neighbouring words (mlm_jax/models/neighbour_init.py), takes small
batches and hides 30 %: choices of a search that was not repeated (see there).
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.data.update(
    source='text:novels/*.txt',
    document='blocks',
    block_characters=4000,
    vocab_size=8192,
    row_length=128,
    validation_fraction=0.01,
    tokenizer_characters=10_000_000,
  )
  c.batch_size = 8
  c.total_steps = 8_000
  c.masking.update(rate=0.3, corruption_probs=(1.0, 0.0, 0.0))
  c.model.update(family='bert', size='tiny', init='neighbours', init_std=0.09, dropout=0.0)
  c.optim.update(learning_rate=2e-3, schedule='linear', warmup_steps=300)
  c.evaluation.update(every=1000, rows=512, batch_size=64)
  c.checkpoint.every = 2000
  c.log.every = 100
  return config.vary(c, variant)
