"""ELECTRA-base, arXiv:2003.10555: replaced-token detection, a generator of a third of the width.

  mlm-jax train --config=electra_base \
    --config.data.source='text:corpus/*.txt.zst' --workdir=runs/electra_base
  mlm-jax train --config=electra_base:smoke --workdir=runs/smoke   # a minute, CPU

Expected: a GLUE score of 85.1 after fine-tuning (table 1 of the paper, quoted from memory).

Where this differs from the published code: see electra_small.py.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.data.update(
    source='text:corpus/*.txt.zst', tokenizer='wordpiece', vocab_size=30_522, row_length=512
  )
  c.batch_size, c.total_steps = 256, 766_000
  c.masking.update(unit='token', rate=0.15, corruption_probs=(0.85, 0.0, 0.15))
  c.model.update(
    family='electra', size='base', dropout=0.1, attention_dropout=0.1, dtype='bfloat16'
  )
  c.objective.update(name='rtd', sharing='tied', generator_width=1 / 3)
  c.optim.update(
    learning_rate=2e-4,
    beta2=0.999,
    epsilon=1e-6,
    weight_decay=0.01,
    warmup_steps=10_000,
    clip_norm=1.0,
    bias_correction=False,
  )
  c.evaluation.update(every=10_000, rows=10_000, batch_size=256)
  c.checkpoint.every = 10_000
  c.log.every = 100
  return config.vary(c, variant)
