"""How far a trained model stays from the best there can be, by masking rate.

  python experiments/known_truth/gap.py --workdir=runs/known_truth
  python experiments/known_truth/gap.py --workdir=runs/smoke --smoke   # a minute, CPU

Trains the run, or resumes it, and prints the table of NOTES.md.
"""

import argparse
from collections.abc import Sequence

from mlm_jax import config
from mlm_jax import masking
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import store
from mlm_jax.evaluation import baselines
from mlm_jax.evaluation import bayes_optimal
from mlm_jax.inference import evaluate
from mlm_jax.tasks import pretraining

RATES = (0.15, 0.3, 0.5)
BATCH = 64


def get_config(smoke: bool = False) -> config.Config:
  c = config.base()
  c.data.update(
    source='synthetic:8/100/50000',
    tokenizer='word',
    vocab_size=361,
    row_length=32,
    validation_fraction=0.02,
  )
  # 361 pieces: 100 words, 256 bytes and 5 special ones, so that every word is one piece.
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
  if smoke:
    c.data.update(source='synthetic:4/100/300', validation_fraction=0.2)
    c.total_steps = 10
    c.model.update(width=16, feed_forward=16)
    c.optim.warmup_steps = 2
  return c


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--workdir', required=True)
  parser.add_argument('--smoke', action='store_true', help='a tiny language, ten steps')
  args = parser.parse_args(arguments)
  if not pretraining.run(get_config(args.smoke), args.workdir):
    return
  prepared = store.open_prepared(f'{args.workdir}/data')
  loader = loader_lib.EvaluationLoader(prepared, BATCH)
  for name, guess in baselines.score(prepared, loader).items():
    print(f'{name}: {guess["loss"]:.3f}')
  print('| rate | optimum | model | above the optimum |\n|---|---|---|---|')
  for rate in RATES:
    policy = config.masking({'rate': rate, 'corruption_probs': (1.0, 0.0, 0.0)}).to_dict()
    best = bayes_optimal.score(prepared, loader, masking.make(prepared.table, **policy))['loss']
    # The same masks: those of a held-out row depend on the row and the policy alone.
    ours = evaluate.evaluate(args.workdir, other=policy)['other_loss']
    print(f'| {rate} | {best:.3f} | {ours:.3f} | {ours / best - 1:.1%} |')


if __name__ == '__main__':
  main()
