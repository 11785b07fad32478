"""Names of the parameters in the Hugging Face classes, and the arrays' way from there and back.

Linear weights are transposed there, layers are separate where ours are stacked, and the
vocabulary is not padded. Every rule works in both directions and loses no bit.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.models.architecture import Architecture


@dataclasses.dataclass(frozen=True)
class Rule:
  """One tensor of theirs, and the arrays of ours that it holds.

  Attributes:
    theirs: name of the tensor; {n} in it is the layer's number.
    ours: paths of the arrays, without the leading axis of layers.
    take: (their tensor) -> list of our arrays.
    give: (list of our arrays) -> their tensor.
    first: the first layer that has it.
    unused: what ours holds for the layers before it.
    is_copy: whether it is only written, and another rule reads those arrays.
  """

  theirs: str
  ours: tuple[str, ...]
  take: Callable[[np.ndarray], list[np.ndarray]]
  give: Callable[[list[np.ndarray]], np.ndarray]
  first: int = 0
  unused: tuple[np.ndarray, ...] = ()
  is_copy: bool = False

  @property
  def is_of_head(self) -> bool:
    """Whether it belongs to the head."""
    return self.ours[0].startswith('head/')

  def layers(self, architecture: Architecture) -> range | None:
    """Returns the numbers of the layers that have it, or None where it belongs to no layer."""
    return range(self.first, architecture.layers) if '{n}' in self.theirs else None

  def names(self, architecture: Architecture) -> list[str]:
    """Returns the names of its tensors."""
    numbers = self.layers(architecture)
    return (
      [self.theirs] if numbers is None else [self.theirs.format(n=number) for number in numbers]
    )


def to_ours(
  rules: Sequence[Rule], named: Mapping[str, np.ndarray], architecture: Architecture
) -> dict[str, Any]:
  """Returns our parameters from {name of theirs: array}; tensors without a rule are ignored."""
  tree: dict[str, Any] = {}
  for rule in rules:
    if rule.is_copy:
      continue
    numbers = rule.layers(architecture)  # of the layers that are stacked in one array of ours
    if numbers is None:
      arrays = rule.take(named[rule.theirs])
    else:
      # Layers that have no such tensor still need a place in the stack.
      each = [list(rule.unused)] * rule.first + [
        rule.take(named[rule.theirs.format(n=n)]) for n in numbers
      ]
      arrays = [np.stack(parts) for parts in zip(*each)]
    for path, array in zip(rule.ours, arrays):
      *outer, last = path.split('/')
      place = tree
      for key in outer:
        place = place.setdefault(key, {})
      place[last] = np.ascontiguousarray(array)
  return tree


def to_theirs(
  rules: Sequence[Rule], tree: Any, architecture: Architecture
) -> dict[str, np.ndarray]:
  """Returns {name of theirs: array} from our tree of parameters."""
  found = {}
  for rule in rules:
    arrays, numbers = [np.asarray(_at(tree, path)) for path in rule.ours], rule.layers(architecture)
    if numbers is None:
      found[rule.theirs] = rule.give(arrays)
    # A stacked array is cut into its layers.
    for n in numbers or ():
      found[rule.theirs.format(n=n)] = rule.give([array[n] for array in arrays])
  return {name: np.ascontiguousarray(array) for name, array in found.items()}


def shapes(
  rules: Sequence[Rule], tree: Any, architecture: Architecture
) -> dict[str, tuple[int, ...]]:
  """Returns {name of theirs: shape} of what is read, from our tree of anything that has a shape.

  Nothing is allocated: the sizes may be those that a config.json claims.
  """
  found = {}
  for rule in rules:
    if rule.is_copy:
      continue
    likes, numbers = [_at(tree, path) for path in rule.ours], rule.layers(architecture)
    # All layers are alike, so one of the stack tells the shape of each.
    first = 0 if numbers is None else 1
    likes = [jax.ShapeDtypeStruct(like.shape[first:], np.float32) for like in likes]
    shape = jax.eval_shape(rule.give, likes).shape
    found |= {name: shape for name in rule.names(architecture)}
  return found


def library(arrays: Sequence[Any]) -> Any:
  """Returns the module whose functions take the arrays: NumPy's, or JAX's where they are traced."""
  return np if isinstance(arrays[0], np.ndarray) else jnp


def _at(tree: Any, path: str) -> Any:
  """Returns what a nested dict has at a path."""
  for key in path.split('/'):
    tree = tree[key]
  return tree


def same(theirs: str, ours: str) -> Rule:
  """Returns the Rule of an array that is alike in both."""
  return Rule(theirs, (ours,), lambda x: [x], lambda arrays: arrays[0])


def transposed(theirs: str, ours: str) -> Rule:
  """Returns the Rule of a linear layer's weights."""
  # PyTorch's Linear keeps [out, in], Flax's Dense [in, out].
  return Rule(theirs, (ours,), lambda x: [x.T], lambda arrays: arrays[0].T)


def padded(theirs: str, ours: str, architecture: Architecture) -> Rule:
  """An array with a row for each token, of which ours has more: they pad the vocabulary."""
  a = architecture
  # Padding rows are 0: they belong to no token, and the head hides their logits.
  longer = lambda x: np.pad(x, [(0, a.padded_vocab_size - a.vocab_size)] + [(0, 0)] * (x.ndim - 1))
  return Rule(theirs, (ours,), lambda x: [longer(x)], lambda arrays: arrays[0][: a.vocab_size])


def dense(theirs: str, ours: str, bias: bool = True) -> list[Rule]:
  """A linear layer."""
  return [transposed(f'{theirs}.weight', f'{ours}/kernel')] + [
    same(f'{theirs}.bias', f'{ours}/bias')
  ] * bias


def norm(theirs: str, ours: str, bias: bool = True) -> list[Rule]:
  """A layer norm."""
  return [same(f'{theirs}.weight', f'{ours}/scale')] + [
    same(f'{theirs}.bias', f'{ours}/bias')
  ] * bias


def table(theirs: str, ours: str) -> list[Rule]:
  """A table of embeddings."""
  return [same(f'{theirs}.weight', f'{ours}/embedding')]


def embeddings(prefix: str, a: Any, positions: bool = True) -> list[Rule]:
  """Tables and norm as BERT has them."""
  return [
    padded(f'{prefix}.embeddings.word_embeddings.weight', 'embeddings/token/embedding', a),
    *table(f'{prefix}.embeddings.position_embeddings', 'embeddings/position') * positions,
    *table(f'{prefix}.embeddings.token_type_embeddings', 'embeddings/type') * bool(a.types),
    *norm(f'{prefix}.embeddings.LayerNorm', 'embeddings/norm'),
  ]


def after_attention(layer: str) -> list[Rule]:
  """The parts of a post-norm block after the attention."""
  return [
    *dense(f'{layer}.attention.output.dense', 'layers/attention/out'),
    *norm(f'{layer}.attention.output.LayerNorm', 'layers/attention_norm'),
    *dense(f'{layer}.intermediate.dense', 'layers/feed_forward/in'),
    *dense(f'{layer}.output.dense', 'layers/feed_forward/out'),
    *norm(f'{layer}.output.LayerNorm', 'layers/feed_forward_norm'),
  ]


def post_norm_layers(prefix: str) -> list[Rule]:
  """The blocks of BERT."""
  layer = f'{prefix}.encoder.layer.{{n}}'
  return [
    rule
    for name in ('query', 'key', 'value')
    for rule in dense(f'{layer}.attention.self.{name}', f'layers/attention/{name}')
  ] + after_attention(layer)


def head(
  transform: str, norm_name: str, decoder: str, bias_name: str, a: Any, bias: bool = True
) -> list[Rule]:
  """The masked head: a transform, a norm, and the layer that scores tokens.

  Args:
    transform, norm_name, decoder: names of the three there.
    bias_name: of the tokens' biases.
    a: Architecture.
    bias: whether the transform and the norm have biases.
  """
  tokens = padded(bias_name, 'head/bias', a)
  found = [
    *dense(transform, 'head/transform', bias),
    *norm(norm_name, 'head/norm', bias),
    tokens,
  ]
  if not a.tied_head:
    found.append(padded(f'{decoder}.weight', 'head/table', a))
    # Some classes have a second name for the biases, which is what they use where nothing is tied.
    if bias_name != f'{decoder}.bias':
      found.append(dataclasses.replace(tokens, theirs=f'{decoder}.bias', is_copy=True))
  return found


def discriminator() -> list[Rule]:
  """Returns the Rules of ELECTRA's discriminator's head (see models/heads.py)."""
  return [
    # It replaces the rules of the masked head, whose paths here are the same.
    *dense('discriminator_predictions.dense', 'head/transform'),
    *dense('discriminator_predictions.dense_prediction', 'head/out'),
  ]
