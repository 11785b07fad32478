"""Continued pretraining: a trained model goes on with masks on a text of yours.

  mlm-jax import --from=downloads/bert-base-uncased --workdir=runs/theirs
  mlm-jax train --config=continued_pretraining --config.init_from=runs/theirs \
    --config.data.source='text:MY/*.txt' --workdir=runs/more
  mlm-jax train --config=continued_pretraining:smoke --config.init_from=runs/theirs \
    --workdir=runs/smoke   # its rate for 60 steps, on the built-in corpus

Model and tokenizer, with the cleaning that goes with it, are those of the run in init_from, which
was imported or trained here. Their settings are in the config.json of the new run.

Expected: the held-out loss on your text falls below that of step 0, which is written down too.
With several sources, such as 'text:MY/*.txt,text:general/*.txt', each has a loss of its own: that
on general text says what is forgotten, data.weights how much of it is seen again.

Rate, batch and rows are those of ClinicalBERT (arXiv:1904.03323, quoted from memory): 5e-5, 32
rows of 128; 5e-5 is also the default of BERT's published run_pretraining.py. The share of warm-up,
6 %, is that of domain-adaptive pretraining (arXiv:2004.10964), which takes a higher rate with a
larger batch: 12,500 steps of 2048 rows at 5e-4; for a task's own text 1e-4 at 256 rows. For a text
of less than some million words take fewer steps (total_steps and optim.warmup_steps).
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.base()
  c.model.family = ''  # model and tokenizer: of the run in init_from
  c.data.update(source='text:corpus/*.txt', tokenizer='', row_length=128)
  c.batch_size, c.total_steps = 32, 10_000
  c.masking.update(unit='token', rate=0.15, corruption_probs=(0.8, 0.1, 0.1))
  c.optim.update(
    learning_rate=5e-5,
    beta2=0.999,
    epsilon=1e-6,
    weight_decay=0.01,
    warmup_steps=600,
    clip_norm=1.0,
  )
  c.evaluation.update(at_start=True, every=500, rows=1024, batch_size=32)
  c.checkpoint.every = 500
  return config.vary(c, variant)
