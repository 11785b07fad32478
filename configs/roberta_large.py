"""RoBERTa-large, arXiv:1907.11692: dynamic uniform masking, no sentence pairs.

  mlm-jax train --config=roberta_large \
    --config.data.source='text:corpus/*.txt.zst' --workdir=runs/roberta_large
  mlm-jax train --config=roberta_large:smoke --workdir=runs/smoke   # a minute, CPU

Expected: no held-out perplexity of this run is published; the recipe is that of the
released model (160 GB of text, batch 8,192, 500,000 steps, 4e-4 after 30,000 steps of
warm-up).

Where this differs from the paper: a unigram tokenizer with byte fallback instead of
byte-level BPE.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.data.update(
    source='text:corpus/*.txt.zst', vocab_size=50_000, row_length=512, packing='contiguous'
  )
  c.batch_size = 8192
  c.total_steps = 500_000
  c.masking.update(unit='token', rate=0.15, corruption_probs=(0.8, 0.1, 0.1))
  c.model.update(
    family='roberta', size='large', dropout=0.1, attention_dropout=0.1, dtype='bfloat16'
  )
  c.optim.update(
    learning_rate=4e-4,
    beta2=0.98,
    epsilon=1e-6,
    weight_decay=0.01,
    warmup_steps=30_000,
    clip_norm=0.0,
    decay_rules=((r'.*', True),),
  )
  c.evaluation.update(every=5_000, rows=10_000, batch_size=256)
  c.checkpoint.every = 5_000
  c.log.every = 100
  return config.vary(c, variant)
