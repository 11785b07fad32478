"""How far a trained model stays from the best there can be, by masking rate.

  python experiments/known_truth/gap.py --workdir=runs/known_truth

Trains the run, or takes it up where it stands, and prints the table of NOTES.md.
"""

import argparse

import jax

import mlm_jax
from mlm_jax import config
from mlm_jax import masking
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import store
from mlm_jax.evaluation import baselines
from mlm_jax.evaluation import bayes_optimal
from mlm_jax.evaluation import heldout
from mlm_jax.objectives import masked as masked_objective
from mlm_jax.tasks import pretraining
from mlm_jax.training import step

RATES = (0.15, 0.3, 0.5)
BATCH = 64


def get_config():
  c = config.base()
  c.data.update(
    source='synthetic:8/100/50000',
    tokenizer='word',
    vocab_size=361,
    row_length=32,
    validation_fraction=0.02,
  )
  c.batch_size = 32
  c.total_steps = 4000
  c.masking.update(rate=0.3, corruption_probs=(1.0, 0.0, 0.0))
  c.model.update(
    layers=1,
    width=128,
    heads=4,
    feed_forward=128,
    max_positions=32,
    dropout=0.0,
    init='neighbours',
    init_std=0.08,
  )
  c.optim.update(learning_rate=3e-3, warmup_steps=200)
  c.evaluation.update(every=1000, rows=0, batch_size=BATCH)
  c.checkpoint.every = 1000
  c.mesh.devices = 1
  return c


def model_loss(run, policy, loader):
  """Returns the run's mean loss on the held-out rows under a policy."""
  objective = masked_objective.Objective(run.model, run.tokenizer.pad_id, BATCH)
  eval_step = jax.jit(step.make_eval_step(objective))
  return heldout.evaluate(eval_step, run.params, policy, {'synthetic': loader}, jax.device_put)[
    'loss'
  ]


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--workdir', required=True)
  workdir = parser.parse_args().workdir
  if not pretraining.run(get_config(), workdir):
    return
  run = mlm_jax.open_run(workdir)
  prepared = store.open_prepared(f'{workdir}/data')
  loader = loader_lib.EvaluationLoader(prepared, BATCH)
  for name, guess in baselines.score(prepared, loader).items():
    print(f'{name}: {guess["loss"]:.3f}')
  print('| rate | optimum | model | above the optimum |\n|---|---|---|---|')
  for rate in RATES:
    policy = masking.make(prepared.table, rate=rate, corruption_probs=(1.0, 0.0, 0.0))
    best, ours = (
      bayes_optimal.score(prepared, loader, policy)['loss'],
      model_loss(run, policy, loader),
    )
    print(f'| {rate} | {best:.3f} | {ours:.3f} | {ours / best - 1:.1%} |')


if __name__ == '__main__':
  main()
