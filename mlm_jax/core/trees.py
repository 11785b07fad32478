"""Parameter trees: nested dicts of arrays, addressed by path."""

from collections.abc import Iterable
import re
from typing import Any

import jax


def paths(tree: Any) -> dict[str, Any]:
  """Returns {'encoder/layer_0/attention/query/kernel': leaf} in tree order."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  # A dict's entry has a `key`, one of a list or tuple an `idx`.
  return {
    '/'.join(str(getattr(k, 'key', getattr(k, 'idx', k))) for k in path): leaf
    for path, leaf in leaves
  }


def match(rules: Iterable[tuple[str, Any]], tree: Any) -> Any:
  """Returns the tree with each leaf replaced by the value of the first rule it fits.

  Args:
    rules: ordered (regex, value); a regex must match the whole path.
    tree: nested dict.

  Raises:
    ValueError: a leaf that no rule matches.
  """

  def value(path: str) -> Any:
    for regex, value in rules:
      if re.fullmatch(regex, path):
        return value
    raise ValueError(f'no rule matches parameter {path}')

  values = [value(path) for path in paths(tree)]
  return jax.tree.unflatten(jax.tree.structure(tree), values)


def count(tree: Any) -> int:
  """Returns the number of scalars in the tree."""
  return sum(leaf.size for leaf in jax.tree.leaves(tree))
