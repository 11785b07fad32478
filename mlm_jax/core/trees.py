"""Pytrees: dataclasses of arrays, and parameters in nested dicts, addressed by path."""

from collections.abc import Iterable
import dataclasses
import re
import typing
from typing import Any

import jax

Class = typing.TypeVar('Class')


@typing.dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def dataclass(cls: type[Class]) -> type[Class]:
  """Makes the class a frozen dataclass and a pytree.

  Its fields are children of the pytree; those with metadata={'static': True}, and the class
  itself, belong to its structure.
  """
  # Not jax.tree_util.register_dataclass: structures that differ only in the class compare equal
  # there and have other hashes (jaxlib 0.10 and 0.11). Where the hashes collide in the cache of
  # jax.jit, a policy is then masked by the program that was compiled for another one.
  made: Any = dataclasses.dataclass(frozen=True)(cls)
  fields = dataclasses.fields(made)
  static = tuple(field.name for field in fields if field.metadata.get('static'))
  children = tuple(field.name for field in fields if field.name not in static)
  keys = tuple(map(jax.tree_util.GetAttrKey, children))

  def flatten(tree: Class) -> tuple[list[Any], tuple[Any, ...]]:
    return [getattr(tree, name) for name in children], tuple(getattr(tree, name) for name in static)

  def flatten_with_keys(tree: Class) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
    values, structure = flatten(tree)
    return list(zip(keys, values)), structure

  def unflatten(structure: tuple[Any, ...], values: Iterable[Any]) -> Class:
    return made(**dict(zip(static, structure)), **dict(zip(children, values)))

  jax.tree_util.register_pytree_with_keys(made, flatten_with_keys, unflatten, flatten)
  return made


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
