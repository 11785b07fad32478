"""Fine-tuning to find the documents that answer a query, from pairs or a collection.

  mlm-jax finetune --config=finetune/retrieval --from=runs/mine --workdir=runs/search \
    --config.task.train=pairs.jsonl --config.task.test=scifact
  mlm-jax finetune --config=finetune/retrieval --from=runs/mine --workdir=runs/cranfield \
    --config.task.train=cranfield --config.task.test=cranfield
  mlm-jax finetune --config=finetune/retrieval:smoke --from=runs/mine \
    --config.task.train=pairs.jsonl --workdir=runs/smoke   # a minute, CPU

Expected: what the encoder has learned; compare with --from=scratch:RUN, and with the row of BM25 in
test.json.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  c = config.finetuning()
  # Of a collection's queries: a tenth of some hundred would rank checkpoints by chance.
  c.task.update(name='retrieval', pooling='mean', validation_fraction=0.2)
  c.data.update(row_length=128, max_segments=8)
  # arXiv:1908.10084 and arXiv:2104.08821: 2e-5 to 3e-5 for models of base size. A batch is as many
  # pairs, and each has the documents of all others as negatives.
  c.epochs, c.batch_size = 5.0, 32
  c.optim.update(learning_rate=3e-5, schedule='linear')
  c = config.vary(c, variant)
  if variant == 'smoke':
    c.task.retrieval.update(max_query_tokens=16, max_document_tokens=48)
  return c
