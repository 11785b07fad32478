"""DeBERTa-base, arXiv:2006.03654: disentangled attention, n-grams, enhanced mask decoder.

  mlm-jax train --config=deberta_base \
    --config.data.source='text:corpus/*.txt.zst' --workdir=runs/deberta_base
  mlm-jax train --config=deberta_base:smoke --workdir=runs/smoke   # a minute, CPU

Expected: MNLI 88.8 matched, 88.5 mismatched after fine-tuning (the table of the published
model card of DeBERTa-v3-xsmall).

N-grams of one to three words, P(n) proportional to 1 / n, without the positional defect of
the published sampler (see config/presets.py).
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.data.update(
    source='text:corpus/*.txt.zst', tokenizer='byte_bpe', vocab_size=50_265, row_length=512
  )
  c.batch_size, c.total_steps = 256, 1_000_000
  c.masking.update(config.masking(config.preset_settings('deberta_ngram')))
  c.model.update(
    family='deberta', size='base', dropout=0.1, attention_dropout=0.1, dtype='bfloat16'
  )
  c.model.deberta.decoder = 'enhanced'
  c.optim.update(
    learning_rate=1e-4,
    beta2=0.999,
    epsilon=1e-6,
    weight_decay=0.01,
    warmup_steps=10_000,
    clip_norm=1.0,
  )
  c.evaluation.update(every=10_000, rows=10_000, batch_size=256)
  c.checkpoint.every = 10_000
  c.log.every = 100
  return config.vary(c, variant)
