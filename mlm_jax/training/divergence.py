"""Whether a run has come to something: what is not finite at its end, and since which step."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax.core import trees


def nonfinite(params: Any) -> str:
  """Returns the path of the first parameter that holds a NaN or an infinity, '' without one."""
  finite = _finite(params)  # of all at once: each answer is a wait for the devices
  return next((path for path, each in trees.paths(jax.device_get(finite)).items() if not each), '')


@jax.jit
def _finite(params: Any) -> Any:
  return jax.tree.map(lambda x: jnp.isfinite(x).all(), params)


def seen(
  step: int,
  skipped: tuple[int, int],
  params: Any,
  metrics: list[dict[str, Any]],
  evaluations: list[dict[str, Any]],
) -> str:
  """Returns what is not finite of a run that ends at a step, the earliest first; '' if all is.

  Args:
    step: as said.
    skipped: (first step, number) of the non-finite gradients in a row that it ends with; number 0
      for none.
    params: the parameters that it ends with.
    metrics: the lines of metrics.jsonl that sum the last steps, the one before it included.
    evaluations: the lines of evaluations.jsonl.
  """
  found = []
  first, number = skipped
  if number:
    found.append((first, _gradients(first, number)))
  if metrics and (names := _null(metrics[-1])):
    first = metrics[-2]['step'] + 1 if len(metrics) > 1 else 1
    last = metrics[-1]['step']
    found.append((first, f'{_some(names)} was not finite in steps {first} to {last}'))
  if evaluations and (names := _null(evaluations[-1])):
    found.append(_evaluations(names, evaluations))
  if path := nonfinite(params):
    found.append((step, f'the parameter {path} is not finite'))
  return '; '.join(text for _, text in sorted(found, key=lambda each: each[0]))


def _gradients(first: int, number: int) -> str:
  if number == 1:
    return f'the gradient of step {first} was not finite'
  return f'the gradients of {number} steps in a row were not finite, from step {first} on'


def _evaluations(names: list[str], evaluations: list[dict[str, Any]]) -> tuple[int, str]:
  """Returns (the first step, text) of the evaluations that end with one that is not finite."""
  steps = []
  for line in reversed(evaluations):
    if not _null(line):
      break
    steps.append(line['step'])
  what = _some(names)
  if len(steps) == 1:
    return steps[0], f'{what} of the evaluation at step {steps[0]} is not finite'
  return steps[-1], f'{what} is not finite in any evaluation from step {steps[-1]} on'


def _some(names: list[str]) -> str:
  return names[0] + (f' (and {len(names) - 1} more)' if len(names) > 1 else '')


def _null(line: Mapping[str, Any]) -> list[str]:
  """Returns the names of a log's line whose values are not finite: logs have null for them."""
  return [name for name, value in line.items() if value is None]
