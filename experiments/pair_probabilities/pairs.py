"""How often two units of a row are chosen together, by the sampler, the rate and their length.

  python experiments/pair_probabilities/pairs.py --out=experiments/pair_probabilities/pairs.csv

One row of 173 tokens in 86 units of 1 to 8 tokens, drawn over and over. For each two units of one
length: the share of the draws that has both, over the product of their probabilities, which
independent draws would make 1.
"""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import csv
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.masking import sampling
from mlm_jax.masking import weighted_sampling

NUMBER = {1: 40, 2: 25, 3: 12, 4: 4, 5: 3, 8: 2}  # units by their tokens
RATES = (0.05, 0.15, 0.4)
COLUMNS = ('sampler', 'rate', 'tokens a unit', 'ratio', 'standard error')
_BATCH = 4096


def row() -> tuple[np.ndarray, np.ndarray]:
  """Returns (units_L, size_U): a row, its units mixed, and their lengths."""
  size_U = np.random.default_rng(0).permutation(np.repeat(list(NUMBER), list(NUMBER.values())))
  return np.repeat(np.cumsum(size_U) - size_U, size_U).astype(np.int32), size_U


def samplers(rate: float, units_BL: jax.Array) -> dict[str, tuple[np.ndarray, Callable]]:
  """Returns {name: (pi_L, words -> chosen_BL)}."""
  B, L = units_BL.shape
  rate_B = jnp.full(B, rate, jnp.float32)
  even_BL = jnp.full((B, L), rate, jnp.float32)
  # Weights as of rare pieces: some units are ten times as probable as others.
  weight_L = np.exp(np.random.default_rng(1).normal(size=L)).astype(np.float32)
  weight_BL = jnp.broadcast_to(jnp.asarray(weight_L), (B, L))
  uneven_BL = weighted_sampling.inclusion(rate_B, weight_BL, units_BL)
  pivotal = weighted_sampling.pivotal_units
  return {
    'window': (
      np.asarray(even_BL[0]),
      lambda o, s, d: sampling.window_units(rate_B, units_BL, o, s),
    ),
    'pivotal, equal weights': (
      np.asarray(even_BL[0]),
      lambda o, s, d: pivotal(even_BL, units_BL, o, s, d),
    ),
    'pivotal, unequal weights': (
      np.asarray(uneven_BL[0]),
      lambda o, s, d: pivotal(uneven_BL, units_BL, o, s, d),
    ),
    'independent': (
      np.asarray(even_BL[0]),
      lambda o, s, d: sampling.independent_units(even_BL, units_BL, s),
    ),
  }


def measure(rate: float, draws: int) -> list[list[str]]:
  """Returns rows of the table."""
  units_L, size_U = row()
  first_U = np.cumsum(size_U) - size_U
  units_BL = jnp.broadcast_to(jnp.asarray(units_L), (_BATCH, len(units_L)))
  g, rows = np.random.default_rng(2), []
  words = lambda *shape: jnp.asarray(g.integers(0, 2**32, shape, np.uint32))
  for name, (pi_L, choose) in samplers(rate, units_BL).items():
    choose, pi_U = jax.jit(choose), pi_L[first_U].astype(np.float64)
    ratios: dict[int, list[float]] = {size: [] for size in NUMBER}
    for _ in range(draws // _BATCH):
      chosen_BL = choose(words(_BATCH), words(*units_BL.shape), words(*units_BL.shape))
      chosen_BU = np.asarray(chosen_BL)[:, first_U].astype(np.float64)
      joint_UU = chosen_BU.T @ chosen_BU / _BATCH
      for size, ratio in ratios.items():
        of_size = np.flatnonzero(size_U == size)
        a, b = (of_size[i] for i in np.triu_indices(len(of_size), 1))
        ratio.append(joint_UU[a, b].sum() / (pi_U[a] * pi_U[b]).sum())
    for size, ratio in ratios.items():
      error = np.std(ratio, ddof=1) / np.sqrt(len(ratio))
      rows.append([name, rate, size, f'{np.mean(ratio):.4f}', f'{error:.4f}'])
  return rows


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--out', type=pathlib.Path, required=True, help='the table to write, .csv')
  parser.add_argument('--draws', type=int, default=400_000, help='of the row, for each line')
  args = parser.parse_args(arguments)
  rows = [line for rate in RATES for line in measure(rate, args.draws)]
  with args.out.open('w', newline='') as file:
    csv.writer(file, lineterminator='\n').writerows([COLUMNS, *rows])
  print(args.out.read_text(), end='')


if __name__ == '__main__':
  main()
