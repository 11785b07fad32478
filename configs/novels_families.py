"""Every family at one small size on a few dozen novels: the same rows, masks, steps and optimizer.

  mlm-jax train --config=configs/novels_families.py:deberta \
    --config.data.source='text:novels/*.txt' --workdir=runs/deberta
  mlm-jax train --config=configs/novels_families.py:smoke --workdir=runs/smoke   # a minute, CPU

Variants: bert (without one), roberta, electra, deberta, deberta_v3 and modernbert. ELECTRA and
DeBERTa-v3 detect what a generator of half their layers has replaced, the others fill masks.

Expected: see experiments/families/NOTES.md.
"""

from typing import Any

from mlm_jax import config

_RTD = {
  'objective.name': 'rtd',
  'objective.generator_layers': 0.5,
  'objective.generator_width': 1.0,
}
FAMILIES: dict[str, dict[str, Any]] = {
  'bert': {'model.init': 'neighbours'},
  'roberta': {'model.init': 'neighbours'},
  'electra': _RTD | {'model.init': 'neighbours'},
  'deberta': {},
  'deberta_v3': _RTD | {'objective.sharing': 'gdes', 'model.deberta.buckets': 64},
  'modernbert': {'model.modernbert.window': 32},
}


def get_config(variant: str | None = None) -> Any:
  family = variant if variant in FAMILIES else 'bert'
  c = config.base()
  c.data.update(
    source='text:novels/*.txt',
    document='blocks',
    block_characters=4000,
    vocab_size=8192,
    row_length=128,
    validation_fraction=0.01,
    tokenizer_characters=10_000_000,
  )
  c.batch_size = 8
  c.total_steps = 3_000
  c.masking.update(rate=0.3, corruption_probs=(1.0, 0.0, 0.0))
  c.model.update(
    family=family,
    size='base',
    layers=2,
    width=128,
    heads=2,
    feed_forward=512,
    init_std=0.09,
    max_positions=128,
    dropout=0.0,
  )
  c.optim.update(learning_rate=2e-3, warmup_steps=300)
  c.evaluation.update(every=1000, rows=512, batch_size=64)
  c.checkpoint.every = 2000
  c.log.every = 100
  c.update_from_flattened_dict(FAMILIES[family])
  return config.vary(c, None if variant in FAMILIES else variant)
