"""ELECTRA-small, arXiv:2003.10555: replaced-token detection, a generator of a quarter of the width.

  mlm-jax train --config=electra_small \
    --config.data.source='text:corpus/*.txt.zst' --workdir=runs/electra_small
  mlm-jax train --config=electra_small:smoke --workdir=runs/smoke   # a minute, CPU

Expected: on the development sets of GLUE, trained on OpenWebText, CoLA 56.8, SST 88.3, MRPC 87.4,
STS 86.8, QQP 88.3, MNLI 78.9, QNLI 87.9, RTE 68.5 (github.com/google-research/electra).

Both share tables of width 128, and the discriminator's loss has 50 times the weight. Where this
differs from the published code: the learning rate rises and then falls; there the fall begins at
once and is multiplied by the rise.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.data.update(
    source='text:corpus/*.txt.zst', tokenizer='wordpiece', vocab_size=30_522, row_length=128
  )
  c.batch_size, c.total_steps = 128, 1_000_000
  c.masking.update(unit='token', rate=0.15, corruption_probs=(0.85, 0.0, 0.15))
  c.model.update(
    family='electra', size='small', dropout=0.1, attention_dropout=0.1, dtype='bfloat16'
  )
  c.objective.update(name='rtd', sharing='tied', generator_width=0.25)
  c.optim.update(
    learning_rate=5e-4,
    beta2=0.999,
    epsilon=1e-6,
    weight_decay=0.01,
    warmup_steps=10_000,
    clip_norm=1.0,
    bias_correction=False,
  )
  c.evaluation.update(every=10_000, rows=10_000, batch_size=128)
  c.checkpoint.every = 10_000
  c.log.every = 100
  return config.vary(c, variant)
