"""Fine-tuning for the classification of texts, or of pairs of texts.

  mlm-jax finetune --config=finetune/classification --from=runs/mine --workdir=runs/sst2 \
    --config.task.train=train.tsv --config.task.test=test.tsv --config.task.text=sentence
  mlm-jax finetune --config=finetune/classification:smoke --from=runs/mine \
    --config.task.train=train.csv --workdir=runs/smoke   # a minute, CPU

Expected: what the encoder has learned; compare with --from=scratch:RUN.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.finetuning()
  c.task.update(name='classification')
  c.epochs = 5.0
  # arXiv:1810.04805, appendix A.3: 2e-5 to 5e-5 for models of base size.
  c.optim.update(learning_rate=4e-5, schedule='linear')
  return config.vary(c, variant)
