"""Fine-tuning for the similarity of two texts, or for a number of one text.

  mlm-jax finetune --config=finetune/similarity --from=runs/mine --workdir=runs/cross \
    --config.task.train=train.csv --config.task.test=test.csv
  mlm-jax finetune --config=finetune/similarity --from=runs/mine --workdir=runs/bi \
    --config.task.train=train.csv --config.task.similarity.encoder=bi --config.task.pooling=mean
  mlm-jax finetune --config=finetune/similarity:smoke --from=runs/mine \
    --config.task.train=train.csv --workdir=runs/smoke   # a minute, CPU

Expected: what the encoder has learned; compare with --from=scratch:RUN.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.finetuning()
  # Of single texts --config.task.second_text=''.
  c.task.update(name='similarity', second_text='second_text')
  c.epochs = 5.0
  # arXiv:1810.04805, appendix A.3: 2e-5 to 5e-5 for models of base size.
  c.optim.update(learning_rate=4e-5, schedule='linear')
  return config.vary(c, variant)
