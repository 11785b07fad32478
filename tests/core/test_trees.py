"""Dataclasses of arrays: what belongs to their structure."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from mlm_jax.core import trees


@trees.dataclass
class Plain:
  values_N: jax.Array
  name: str = dataclasses.field(default='', metadata={'static': True})


@trees.dataclass
class Twice(Plain):
  pass


def test_structures_tell_classes_static_fields_and_nothing_else():
  a, b = np.arange(2.0), np.arange(3.0)
  structure = jax.tree.structure
  assert structure(Plain(a)) == structure(Plain(b))
  assert hash(structure(Plain(a))) == hash(structure(Plain(b)))
  assert structure(Plain(a)) != structure(Plain(a, 'other'))
  assert structure(Plain(a)) != structure(Twice(a))


def test_a_dataclass_comes_back_whole_and_its_leaves_have_the_names_of_its_fields():
  tree: dict[str, Any] = {'x': Plain(np.arange(2.0), 'name')}
  again = jax.tree.map(lambda x: x + 1, tree)
  assert type(again['x']) is Plain and again['x'].name == 'name'
  assert again['x'].values_N.tolist() == [1, 2]
  [(path, _)], _ = jax.tree_util.tree_flatten_with_path(tree)
  assert jax.tree_util.keystr(path) == "['x'].values_N"
  with pytest.raises(dataclasses.FrozenInstanceError):
    tree['x'].name = 'other'
