"""RoBERTa-base, arXiv:1907.11692: dynamic uniform masking, no sentence pairs.

  mlm-jax train --config=roberta_base \
    --config.data.source='text:corpus/*.txt.zst' --workdir=runs/roberta_base
  mlm-jax train --config=roberta_base:smoke --workdir=runs/smoke   # a minute, CPU

Expected: held-out perplexity by the size of the corpus, Wikipedia + BooksCorpus, best
of several runs: 10.8 to 11.6 on 10M words, 4.6 to 5.0 on 100M, 3.8 to 4.3 on 1B
(published with the models of arXiv:2011.04946; another vocabulary and other masks, so
points of orientation).

Where this differs from the paper: a unigram tokenizer with byte fallback instead of
byte-level BPE. Learning rates for other batch sizes: 1e-4 at 256, 7e-4 at 8192.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.data.update(
    source='text:corpus/*.txt.zst', vocab_size=50_000, row_length=512, packing='contiguous'
  )
  c.batch_size = 2048
  c.total_steps = 125_000
  c.masking.update(unit='token', rate=0.15, corruption_probs=(0.8, 0.1, 0.1))
  c.model.update(
    family='roberta', size='base', dropout=0.1, attention_dropout=0.1, dtype='bfloat16'
  )
  c.optim.update(
    learning_rate=5e-4,
    beta2=0.98,
    epsilon=1e-6,
    weight_decay=0.01,
    warmup_steps=10_000,
    clip_norm=0.0,
    decay_rules=((r'.*', True),),
  )
  c.evaluation.update(every=5_000, rows=10_000, batch_size=256)
  c.checkpoint.every = 5_000
  c.log.every = 100
  return config.vary(c, variant)
