"""Adaptation: a trained model goes on with the text of a domain, and ends when it should.

  mlm-jax adapt --from=runs/mine --config.data.source='text:DOMAIN/*.txt' --workdir=runs/domain
  mlm-jax train --config=adaptation --config.init_from=runs/mine \
    --config.data.source='text:DOMAIN/*.txt' --workdir=runs/domain   # the same
  mlm-jax train --config=adaptation:smoke --config.init_from=runs/mine --workdir=runs/smoke

It is the recipe continued_pretraining (arXiv:1904.03323, arXiv:2004.10964), with the held-out loss
of general text followed beside that of the domain. It ends when the domain has not improved in five
evaluations, or when general text has lost more than adapt.allowance; the model is the checkpoint
of the least domain loss within the allowance. Allowance and patience are of no paper.

Expected: the held-out loss on the domain falls below that of step 0; that on general text is at
most 0.2 nats above it at the step that is the model.
"""

from typing import Any

from mlm_jax import config


def get_config(variant: str | None = None) -> Any:
  continued, c = config.load('continued_pretraining'), config.adaptation()
  for group, settings in continued.items():
    if config.is_config(settings):
      c[group].update(settings)
    else:
      c[group] = settings
  c.evaluation.patience = 5
  return config.vary(c, variant)
