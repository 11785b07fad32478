"""A very small encoder that leaves its first plateau within minutes on one CPU core.

The base of the ablations in experiments/: small enough for dozens of runs, and with a loss
far enough below that of single words for masking policies to differ. Found in the
search of experiments/novels_small/NOTES.md.

  mlm-jax train --config=ablation_small --workdir=runs/ablation_small
  mlm-jax train --config=ablation_small:smoke --workdir=runs/smoke   # a minute, CPU

Expected: see experiments/masking_rate/NOTES.md.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.batch_size, c.total_steps = 8, 4000
  c.data.update(
    source='pydocs',
    vocab_size=4096,
    row_length=64,
    validation_fraction=0.05,
    tokenizer_characters=3_000_000,
  )
  c.masking.corruption_probs = (1.0, 0.0, 0.0)
  c.model.update(
    layers=1,
    width=128,
    heads=2,
    feed_forward=512,
    max_positions=64,
    dropout=0.0,
    init='neighbours',
    init_std=0.088,
  )
  c.optim.update(learning_rate=2e-3, warmup_steps=400)
  c.evaluation.update(every=500, rows=1024, batch_size=64)
  c.checkpoint.update(every=2000, keep_latest=1, keep_best=0)
  c.log.update(every=100, trackers='')
  c.mesh.devices = 1
  return config.vary(c, variant)
