"""How far trained models stay from the best there can be, by masking rate.

  python experiments/known_truth/gap.py --workdir=runs/gap --out=experiments/known_truth/gap.csv
  python experiments/known_truth/gap.py --workdir=runs/smoke --out=gap.csv --smoke   # a minute, CPU

Trains the runs of ARMS, or resumes them, and writes the scores of each at each rate.
"""

import argparse
from collections.abc import Sequence
import csv
import pathlib
from typing import Any

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
# The settings in which the runs differ from `get_config`, by the run's name.
ARMS: dict[str, dict[str, Any]] = {
  '8 states': {},
  '8 states, two layers': {'model.layers': 2, 'optim.learning_rate': 2e-3},
} | {
  f'4 states, {name}': {
    'data.source': 'synthetic:4/100',
    'total_steps': 800,
    'optim.warmup_steps': 100,
    'evaluation.rows': 512,
    'data.validation_fraction': 0.05,
  }
  | settings
  for name, settings in (
    ('seed 0', {}),
    ('seed 1', {'seed': 1}),
    ('seed 2', {'seed': 2}),
    ('language 1', {'data.source': 'synthetic:4/100/10000/1'}),
    ('language 2', {'data.source': 'synthetic:4/100/10000/2'}),
    ('usual initialisation', {'model.init': 'normal'}),
  )
}
COLUMNS = ('arm', 'rate', 'unigram', 'bigram', 'optimum', 'model', 'above the optimum')


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
  c.evaluation.update(every=400, rows=0, batch_size=BATCH)
  c.checkpoint.every = 400
  c.mesh.devices = 1
  if smoke:
    c.data.update(source='synthetic:4/100/300', validation_fraction=0.2)
    c.total_steps = 10
    c.model.update(width=16, feed_forward=16)
    c.optim.warmup_steps = 2
  return c


def scores(workdir: pathlib.Path, rows: int) -> list[list[float]]:
  """Returns (rate, unigram, bigram, optimum, model, share above the optimum) for each of RATES."""
  prepared = store.open_prepared(workdir / 'data')
  loader = loader_lib.EvaluationLoader(prepared, BATCH, rows)
  # Counted under the reference masks: the guesses hardly depend on the rate.
  guesses = baselines.score(prepared, loader)
  found = []
  for rate in RATES:
    policy = config.masking({'rate': rate, 'corruption_probs': (1.0, 0.0, 0.0)}).to_dict()
    best = bayes_optimal.score(prepared, loader, masking.make(prepared.table, **policy))['loss']
    # The same masks: those of a held-out row depend on the row and the policy alone.
    ours = evaluate.evaluate(workdir, other=policy)['other_loss']
    losses = (guesses['unigram']['loss'], guesses['bigram']['loss'], best, ours)
    found.append([rate, *losses, ours / best - 1])
  return found


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--out', type=pathlib.Path, required=True, help='the table to write, .csv')
  parser.add_argument('--smoke', action='store_true', help='a tiny language, ten steps')
  args = parser.parse_args(arguments)
  rows = []
  for name, settings in {'smoke': {}}.items() if args.smoke else ARMS.items():
    c = config.overlay(get_config(args.smoke), settings)
    folder = args.workdir / name.replace(', ', '_').replace(' ', '-')
    if not pretraining.run(c, folder):
      return  # stopped by a signal: the same command goes on
    rows += [
      [name, *(f'{x:.5g}' for x in numbers)] for numbers in scores(folder, c.evaluation.rows)
    ]
  with args.out.open('w', newline='') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows(rows)
  print(args.out.read_text(), end='')


if __name__ == '__main__':
  main()
