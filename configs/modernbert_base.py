"""ModernBERT-base, arXiv:2412.13663: local and global attention, rotary positions, 30 % masked.

  mlm-jax train --config=modernbert_base \
    --config.data.source='text:corpus/*.txt.zst' --workdir=runs/modernbert_base
  mlm-jax train --config=modernbert_base:smoke --workdir=runs/smoke   # a minute, CPU

Expected: a GLUE score of 88.4 after fine-tuning (the published model card).

Rows of 1,024 for 1.7 trillion tokens, then of 8,192 (as many tokens a step). Held-out rows
are masked at .15 in the paper and here. Where this differs: the batch does not grow over the
first 50 billion tokens (config.stages can say so), and the second part keeps its learning
rate.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.data.update(
    source='text:corpus/*.txt.zst',
    tokenizer='byte_bpe',
    vocab_size=50_368,
    row_length=8192,
    max_segments=32,
  )
  c.batch_size = 576
  c.stages = ({'steps': 360_000, 'data.row_length': 1024, 'batch_size': 4608}, {'steps': 60_000})
  c.total_steps = 420_000
  c.masking.update(unit='token', rate=0.3, corruption_probs=(0.8, 0.1, 0.1))
  c.model.update(
    family='modernbert', size='base', max_positions=8192, dropout=0.1, dtype='bfloat16'
  )
  c.optim.update(
    name='stable_adamw',
    learning_rate=8e-4,
    schedule='one_minus_sqrt',
    decay_steps=12_000,
    beta2=0.98,
    epsilon=1e-6,
    weight_decay=1e-5,
    warmup_steps=640,
    clip_norm=0.0,
  )
  c.evaluation.update(every=10_000, rows=4608, batch_size=576)
  c.checkpoint.every = 10_000
  c.log.every = 100
  return config.vary(c, variant)
