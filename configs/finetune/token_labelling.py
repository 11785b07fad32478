"""Fine-tuning for the tags of words: named entities, parts of speech.

  mlm-jax finetune --config=finetune/token_labelling --from=runs/mine --workdir=runs/wnut17 \
    --config.task.train=train.conll --config.task.test=test.conll
  mlm-jax finetune --config=finetune/token_labelling --from=runs/mine --workdir=runs/tagger \
    --config.task.train=train.conllu --config.task.token_labelling.scheme=plain
  mlm-jax finetune --config=finetune/token_labelling:smoke --from=runs/mine \
    --config.task.train=train.conll --workdir=runs/smoke   # a minute, CPU

Expected: what the encoder has learned; compare with --from=scratch:RUN.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.finetuning()
  c.task.update(name='token_labelling')
  c.epochs = 5.0
  # arXiv:1810.04805, appendix A.3: 2e-5 to 5e-5 for models of base size.
  c.optim.update(learning_rate=5e-5, schedule='linear')
  return config.vary(c, variant)
