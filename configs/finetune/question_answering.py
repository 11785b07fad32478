"""Fine-tuning for extractive question answering, on files as of SQuAD 1.1 or 2.0.

  mlm-jax finetune --config=finetune/question_answering --from=runs/mine --workdir=runs/squad \
    --config.task.train=train-v2.0.json --config.task.test=dev-v2.0.json
  mlm-jax finetune --config=finetune/question_answering:smoke --from=runs/mine \
    --config.task.train=train.json --workdir=runs/smoke   # a minute, CPU

Expected: what the encoder has learned; compare with --from=scratch:RUN.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.finetuning()
  # The columns are those of tables that are predicted; files of SQuAD have names of their own.
  c.task.update(name='question_answering', text='question', second_text='context')
  # Windows, batch and rate as in the example of run_qa.py of transformers.
  c.data.update(row_length=384, max_segments=8)
  c.task.question_answering.update(stride=128)
  c.epochs, c.batch_size = 2.0, 12
  c.optim.update(learning_rate=3e-5, schedule='linear')
  c = config.vary(c, variant)
  if variant == 'smoke':
    c.task.question_answering.update(stride=16, max_question_pieces=24)
  return c
