"""DeBERTa-v3-base, arXiv:2111.09543: replaced-token detection (RTD) with GDES embeddings.

  mlm-jax train --config=deberta_v3_base \
    --config.data.source='text:corpus/*.txt.zst' --workdir=runs/deberta_v3_base
  mlm-jax train --config=deberta_v3_base:smoke --workdir=runs/smoke   # a minute, CPU

Expected: MNLI 90.6 matched, 90.7 mismatched after fine-tuning (the published model card of
DeBERTa-v3-xsmall lists all sizes).

The generator is as wide and half as deep. Gradient-disentangled embedding sharing (GDES): the
discriminator's token table is the generator's, on which its loss has no gradient, plus a
difference that it learns. Each model's gradient is clipped by its own norm. Batch, steps and
rate are the paper's (table 11, quoted from memory).
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.data.update(source='text:corpus/*.txt.zst', vocab_size=128_000, row_length=512)
  c.batch_size, c.total_steps = 8192, 500_000
  c.masking.update(unit='token', rate=0.15, corruption_probs=(1.0, 0.0, 0.0))
  c.model.update(
    family='deberta_v3', size='base', dropout=0.1, attention_dropout=0.1, dtype='bfloat16'
  )
  c.objective.update(name='rtd', sharing='gdes', generator_layers=0.5, generator_width=1.0)
  c.optim.update(
    learning_rate=6e-4,
    beta2=0.98,
    epsilon=1e-6,
    weight_decay=0.01,
    warmup_steps=10_000,
    clip_norm=1.0,
    clip_separately=True,
  )
  c.evaluation.update(every=10_000, rows=16_384, batch_size=1024)
  c.checkpoint.every = 10_000
  c.log.every = 100
  return config.vary(c, variant)
