"""Low-rank adapters (LoRA, arXiv:2106.09685): a kernel W learns as W + (alpha / rank) A B.

A and B lie beside their kernel, so what holds for the parameters of a layer (stacks, depths, paths)
holds for them. A model knows nothing of them: it is given kernels that they are merged into, also
while they are trained, when the gradient passes through the sum.
"""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax import config as config_lib
from mlm_jax.core import rng
from mlm_jax.core import trees

PyTree = Any  # nested dict of arrays
A, B = (
  'lora_a',
  'lora_b',
)  # [..., in, rank] and [..., rank, out]; in layers' stacks ... is the layer
PATHS = rf'.*/({A}|{B})'
_KERNEL, _SHOWN = 'kernel', 6


@dataclasses.dataclass(frozen=True)
class Adapters:
  """Which kernels have adapters.

  Attributes:
    rank: of the products A B; 0 for no adapters.
    alpha: alpha / rank is their factor.
    rules: regular expressions; kernels whose path one of them matches have adapters.
  """

  rank: int = 0
  alpha: float = 1.0
  rules: tuple[str, ...] = ()

  def add(self, key: jax.Array, params: PyTree) -> PyTree:
    """Returns the parameters with A, normal of variance 1 / in, and B = 0: the same model."""
    if not self.rank:
      return params

    def added(tree: PyTree, path: str) -> PyTree:
      if not isinstance(tree, dict):
        return tree
      made = {name: added(each, f'{path}{name}/') for name, each in tree.items()}
      if _KERNEL not in tree or not self._match(name := f'{path}{_KERNEL}'):
        return made
      *stack, inside, outside = tree[_KERNEL].shape
      # By the path: which other kernels have adapters changes no draw.
      drawn = jax.random.normal(
        rng.named(rng.named(key, 'lora'), name), (*stack, inside, self.rank)
      )
      return made | {A: drawn * inside**-0.5, B: jnp.zeros((*stack, self.rank, outside))}

    return added(params, '')

  def check(self, params: PyTree) -> None:
    """Raises UserError for a rule that matches no kernel of the parameters, or their shapes."""
    # Of maps: [in, out] are the last in their shape.
    kernels = [
      path
      for path, leaf in trees.paths(params).items()
      if path.endswith(f'/{_KERNEL}') and len(leaf.shape) >= 2
    ]
    for rule in self.rules:
      if not any(re.fullmatch(rule, each) for each in kernels):
        more = ', ...' * (len(kernels) > _SHOWN)
        raise config_lib.UserError(
          f'config.task.lora.rules: {rule!r} matches no kernel of the encoder; there are '
          f'{", ".join(kernels[:_SHOWN])}{more}'
        )

  def merged(self, params: PyTree) -> PyTree:
    """Returns the parameters of the model without adapters that computes the same."""
    if not self.rank or not isinstance(params, dict):
      return params
    rest = {name: self.merged(each) for name, each in params.items() if name not in (A, B)}
    if A in params:
      # In full precision: what is exported is to be what was trained.
      change = jnp.matmul(params[A], params[B], precision='highest')
      rest[_KERNEL] = params[_KERNEL] + self.alpha / self.rank * change
    return rest

  def _match(self, path: str) -> bool:
    return any(re.fullmatch(each, path) for each in self.rules)


def of(config: Any) -> Adapters:
  """Returns the Adapters of a config; those of rank 0 where it is of pretraining."""
  if 'task' not in config:
    return Adapters()
  lora = config.task.lora
  return Adapters(lora.rank, lora.alpha, tuple(lora.rules))


def without(config: Any, params: PyTree) -> tuple[Any, PyTree]:
  """Returns (config, parameters) of the same model without adapters, these merged.

  Raises:
    ValueError: the parameters have adapters of another rank than the config says.
  """
  adapters = of(config)
  if not adapters.rank:
    return config, params
  ranks = {leaf.shape[-1] for path, leaf in trees.paths(params).items() if path.endswith(f'/{A}')}
  if ranks != {adapters.rank}:
    raise ValueError(f'adapters of rank {adapters.rank} are expected')
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.task.lora = config_lib.finetuning().task.lora
  return config, adapters.merged(params)
