"""Which tensors of a folder are which parameters of a run; what does not fit is an error.

Names, types and shapes decide it, before any array is read: a wrong folder is refused at once,
whatever sizes it claims.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
import re
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.core import rng
from mlm_jax.huggingface import aliases
from mlm_jax.huggingface import names
from mlm_jax.huggingface import weights
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.weights import Header
from mlm_jax.models.architecture import Architecture

# Quantised weights would need their scales, which have no place in a run.
_DTYPES = ('float32', 'float16', 'bfloat16')
# Tensors of the encoder that may be there and have no place in a run: poolers and buffers.
_BESIDE = re.compile(
  r'(\w+\.)?pooler\..*|deberta\.embeddings\.position_embeddings\.weight'
  r'|.*\.(position_ids|token_type_ids)|.*rotary_emb\..*inv_freq'
)


@dataclasses.dataclass(frozen=True)
class Fitted:
  """What the tensors of a folder are.

  Attributes:
    architecture: of ours.
    rules: Rules of what the folder has; a masked head only where it has one.
    now: {name there: name of today}.
    shapes: {name of today: shape} of what becomes parameters.
    left_out: names there of what the run has no use for, such as heads of other tasks.
  """

  architecture: Architecture
  rules: list[names.Rule]
  now: dict[str, str]
  shapes: dict[str, tuple[int, ...]]
  left_out: list[str]


def fit(
  folder: pathlib.Path,
  model: Any,
  of: Kind,
  headers: Mapping[str, Header],
  head: tuple[Sequence[names.Rule], Any] | None = None,
) -> Fitted:
  """Returns the Fitted of a folder, of whose tensors only what a decision needs is read.

  Args:
    folder: for errors.
    model: the group `model` as config.json describes it. `tied_head` becomes False where the head
      has a table that is no copy of the tokens', as in `transformers`, whatever config.json says.
    of: the Kind.
    headers: of all tensors.
    head: (its Rules, the shapes of its parameters) of a head that must be there, in place of the
      masked one; None for that one, where it is there.

  Raises:
    UserError: tensors that are missing, unexpected, or of another form.
  """
  now = aliases.current(headers, of.prefix, _copies(model, of, headers))
  made = models.make(model, model.vocab_size)
  named = {name: headers[was] for was, name in now.items()}
  rules = _required(of.rules(made.architecture), named)
  tree = jax.eval_shape(made.init, rng.root_key(0))
  if head:
    rules = [*(rule for rule in rules if not rule.is_of_head), *head[0]]
    tree |= head[1]
  shapes = names.shapes(rules, tree, made.architecture)
  beside = [was for was, name in now.items() if name not in shapes and not _BESIDE.fullmatch(name)]
  # What is under the encoder's name is part of what it computes; what is beside it is a head.
  in_encoder = lambda was: now[was].startswith(f'{of.prefix}.')
  _check(folder, headers, named, shapes, list(filter(in_encoder, beside)))
  left_out = [was for was in beside if not in_encoder(was)]
  return Fitted(made.architecture, rules, now, shapes, left_out)


def params(folder: pathlib.Path, fitted: Fitted, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
  """Returns our tree of float32 parameters, from {name there: array}."""
  named = _named(folder, tensors, fitted.now)
  wide = {name: named[name].astype(np.float32) for name in fitted.shapes}
  return names.to_ours(fitted.rules, wide, fitted.architecture)


def _copies(model: Any, of: Kind, headers: Mapping[str, Header]) -> dict[str, str]:
  """Returns {name there: name of the tensor it is a copy of}, of the head's last layer.

  Sets model.tied_head, see `fit`.
  """
  architecture = models.make(model, model.vocab_size).architecture
  theirs = {rule.ours[0]: rule.theirs for rule in of.rules(architecture) if not rule.is_copy}
  tokens, biases = theirs['embeddings/token/embedding'], theirs['head/bias']
  table, second = f'{of.decoder}.weight', f'{of.decoder}.bias'
  # An encoder that was saved by itself has no prefix, but then it has no head either.
  model.tied_head = model.tied_head and _are_equal(headers, tokens, table)
  copies = {table: tokens} if model.tied_head else {}
  if second in headers and second != biases:
    # Biases of that layer are what the classes add; those under the first name may be unused.
    copies |= {second: biases}
    if not _are_equal(headers, biases, second):
      copies |= {biases: f'{biases} (unused)'}
  return copies


def _are_equal(headers: Mapping[str, Header], one: str, other: str) -> bool:
  """Whether two tensors are equal, or one of them is not there, or of another shape."""
  if one not in headers or other not in headers or headers[one].shape != headers[other].shape:
    return True
  if not headers[one].is_readable or not headers[other].is_readable:
    return True  # what cannot be read is refused later, by name
  arrays = weights.read({name: headers[name] for name in (one, other)})
  return np.array_equal(arrays[one], arrays[other])


def _named(
  folder: pathlib.Path, tensors: dict[str, np.ndarray], now: dict[str, str]
) -> dict[str, np.ndarray]:
  """Returns {name of today: array}; UserError where two tensors that are one there differ."""
  # Tensors under today's name come first: others of that name are compared with them.
  named = {name: tensors[was] for was, name in now.items() if was == name}
  for was, name in now.items():
    # Copies are fine as long as they are copies.
    first = named.setdefault(name, tensors[was])
    if first is not tensors[was] and not np.array_equal(first, tensors[was]):
      raise config_lib.UserError(
        f'{folder}: {was} is not a copy of {name}, whose other name it is; keep one of the two'
      )
  return named


def _required(rules: list[names.Rule], named: Mapping[str, Header]) -> list[names.Rule]:
  """Returns the rules of what the folder must have: a head only where it has part of one."""
  of_head = {rule.ours[0]: rule.theirs for rule in rules if rule.is_of_head and not rule.is_copy}
  has_part = any(name in named for name in of_head.values())
  # ModernBERT's classifiers share names with its masked head, all but those of each token.
  is_classifier = any(name.startswith('classifier.') for name in named)
  has_head = of_head['head/bias'] in named or (has_part and not is_classifier)
  return rules if has_head else [rule for rule in rules if not rule.is_of_head]


def _check(
  folder: pathlib.Path,
  headers: Mapping[str, Header],
  named: Mapping[str, Header],
  shapes: Mapping[str, tuple[int, ...]],
  unexpected: list[str],
) -> None:
  """Raises UserError that lists tensors that are missing, unexpected, or of another form."""
  unreadable = [
    f'{name} {header.dtype}' for name, header in headers.items() if not header.is_readable
  ]
  faults = {
    'missing tensors': [name for name in shapes if name not in named],
    'unexpected tensors': unexpected,
    'tensors of another shape than config.json says': [
      f'{name} {list(named[name].shape)}, not {list(shape)}'
      for name, shape in shapes.items()
      if name in named and named[name].shape != shape
    ],
    f'tensors of a type that is not {" or ".join(_DTYPES)}': unreadable
    + [
      f'{name} {named[name].dtype}'
      for name in shapes
      if name in named and named[name].is_readable and named[name].dtype not in _DTYPES
    ],
  }
  problems = [
    f'{what} ({len(each)}): {weights.listed(each)}' for what, each in faults.items() if each
  ]
  if problems:
    raise config_lib.UserError(f'{folder}: ' + '; '.join(problems))
