"""Names of the parameters in the Hugging Face classes, and the arrays' way from there and back.

Linear weights are transposed there, layers are separate where ours are stacked, and the
vocabulary is not padded. Every rule works in both directions and loses no bit.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
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
  """

  theirs: str
  ours: tuple[str, ...]
  take: Callable[[np.ndarray], list[np.ndarray]]
  give: Callable[[list[np.ndarray]], np.ndarray]
  first: int = 0
  unused: tuple[np.ndarray, ...] = ()

  @property
  def is_of_head(self) -> bool:
    """Whether it belongs to the head."""
    return self.ours[0].startswith('head/')

  def layers(self, architecture: Architecture) -> range | None:
    """Returns the numbers of the layers that have it, or None where it belongs to no layer."""
    return range(self.first, architecture.layers) if '{n}' in self.theirs else None


def rules(family: str, architecture: Architecture) -> list[Rule]:
  """Returns the Rules of an encoder of a family and of its masked-language-model head."""
  return _FAMILIES[family](architecture)


def to_ours(
  rules: Sequence[Rule], named: Mapping[str, np.ndarray], architecture: Architecture
) -> dict[str, Any]:
  """Returns our parameters from {name of theirs: array}; tensors without a rule are ignored."""
  tree: dict[str, Any] = {}
  for rule in rules:
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
  return {name: np.ascontiguousarray(array) for name, array in _each(rules, tree, architecture)}


def shapes(
  rules: Sequence[Rule], tree: Any, architecture: Architecture
) -> dict[str, tuple[int, ...]]:
  """Returns {name of theirs: shape} from our tree of anything that has a shape."""
  # Views of one zero: the rules can be applied to shapes alone, without memory for the arrays.
  tree = jax.tree.map(lambda x: np.broadcast_to(np.float32(0), x.shape), tree)
  return {name: array.shape for name, array in _each(rules, tree, architecture)}


def _each(
  rules: Sequence[Rule], tree: Any, architecture: Architecture
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields (name of theirs, array) of each tensor."""

  def at(path: str) -> np.ndarray:
    place = tree
    for key in path.split('/'):
      place = place[key]
    return np.asarray(place)

  for rule in rules:
    arrays, numbers = [at(path) for path in rule.ours], rule.layers(architecture)
    if numbers is None:
      yield rule.theirs, rule.give(arrays)
    # A stacked array is cut into its layers.
    for n in numbers or ():
      yield rule.theirs.format(n=n), rule.give([array[n] for array in arrays])


def _same(theirs: str, ours: str) -> Rule:
  return Rule(theirs, (ours,), lambda x: [x], lambda arrays: arrays[0])


def _transposed(theirs: str, ours: str) -> Rule:
  # PyTorch's Linear keeps [out, in], Flax's Dense [in, out].
  return Rule(theirs, (ours,), lambda x: [x.T], lambda arrays: arrays[0].T)


def _padded(theirs: str, ours: str, architecture: Architecture) -> Rule:
  """An array with a row for each token, of which ours has more: they pad the vocabulary."""
  a = architecture
  # Padding rows are 0: they belong to no token, and the head hides their logits.
  longer = lambda x: np.pad(x, [(0, a.padded_vocab_size - a.vocab_size)] + [(0, 0)] * (x.ndim - 1))
  return Rule(theirs, (ours,), lambda x: [longer(x)], lambda arrays: arrays[0][: a.vocab_size])


def _dense(theirs: str, ours: str, bias: bool = True) -> list[Rule]:
  return [_transposed(f'{theirs}.weight', f'{ours}/kernel')] + [
    _same(f'{theirs}.bias', f'{ours}/bias')
  ] * bias


def _norm(theirs: str, ours: str, bias: bool = True) -> list[Rule]:
  return [_same(f'{theirs}.weight', f'{ours}/scale')] + [
    _same(f'{theirs}.bias', f'{ours}/bias')
  ] * bias


def _table(theirs: str, ours: str) -> list[Rule]:
  return [_same(f'{theirs}.weight', f'{ours}/embedding')]


def _embeddings(prefix: str, a: Any, positions: bool = True) -> list[Rule]:
  """Tables and norm as BERT has them."""
  return [
    _padded(f'{prefix}.embeddings.word_embeddings.weight', 'embeddings/token/embedding', a),
    *_table(f'{prefix}.embeddings.position_embeddings', 'embeddings/position') * positions,
    *_table(f'{prefix}.embeddings.token_type_embeddings', 'embeddings/type') * bool(a.types),
    *_norm(f'{prefix}.embeddings.LayerNorm', 'embeddings/norm'),
  ]


def _after_attention(layer: str) -> list[Rule]:
  """The parts of a post-norm block after the attention."""
  return [
    *_dense(f'{layer}.attention.output.dense', 'layers/attention/out'),
    *_norm(f'{layer}.attention.output.LayerNorm', 'layers/attention_norm'),
    *_dense(f'{layer}.intermediate.dense', 'layers/feed_forward/in'),
    *_dense(f'{layer}.output.dense', 'layers/feed_forward/out'),
    *_norm(f'{layer}.output.LayerNorm', 'layers/feed_forward_norm'),
  ]


def _post_norm_layers(prefix: str) -> list[Rule]:
  layer = f'{prefix}.encoder.layer.{{n}}'
  return [
    rule
    for name in ('query', 'key', 'value')
    for rule in _dense(f'{layer}.attention.self.{name}', f'layers/attention/{name}')
  ] + _after_attention(layer)


def _head(transform: str, norm: str, bias: str, a: Any) -> list[Rule]:
  return [
    *_dense(transform, 'head/transform'),
    *_norm(norm, 'head/norm'),
    _padded(bias, 'head/bias', a),
  ]


def _bert_head(a: Any) -> list[Rule]:
  inside = 'cls.predictions'
  return _head(f'{inside}.transform.dense', f'{inside}.transform.LayerNorm', f'{inside}.bias', a)


def _bert(a: Any) -> list[Rule]:
  return _embeddings('bert', a) + _post_norm_layers('bert') + _bert_head(a)


def _roberta(a: Any) -> list[Rule]:
  return (
    _embeddings('roberta', a)
    + _post_norm_layers('roberta')
    + _head('lm_head.dense', 'lm_head.layer_norm', 'lm_head.bias', a)
  )


def _electra(a: Any) -> list[Rule]:
  # Only where tables are narrower than layers.
  project = _dense('electra.embeddings_project', 'project') if a.embedding_width != a.width else []
  return (
    _embeddings('electra', a)
    + project
    + _post_norm_layers('electra')
    + _head(
      'generator_predictions.dense', 'generator_predictions.LayerNorm', 'generator_lm_head.bias', a
    )
  )


def _deberta(a: Any) -> list[Rule]:
  """Queries, keys and values of a head are together in one product there; keys have no bias."""
  H, K, D = a.heads, a.width // a.heads, a.width
  layer = 'deberta.encoder.layer.{n}'
  names = [f'layers/attention/{name}/kernel' for name in ('query', 'key', 'value')]
  # Theirs is [H x 3 x K, D], head by head; ours are three matrices [D, H x K].
  fused = Rule(
    f'{layer}.attention.self.in_proj.weight',
    tuple(names),
    lambda x: [part.reshape(D, D).T for part in np.split(x.reshape(H, 3, K, D), 3, axis=1)],
    lambda arrays: np.stack([x.T.reshape(H, K, D) for x in arrays], axis=1).reshape(3 * D, D),
  )
  return [
    *_embeddings('deberta', a, positions=False),
    fused,
    _same(f'{layer}.attention.self.q_bias', 'layers/attention/query/bias'),
    _same(f'{layer}.attention.self.v_bias', 'layers/attention/value/bias'),
    *_dense(f'{layer}.attention.self.pos_proj', 'layers/attention/position_key', bias=False),
    *_dense(f'{layer}.attention.self.pos_q_proj', 'layers/attention/position_query'),
    *_after_attention(layer),
    *_table('deberta.encoder.rel_embeddings', 'relative'),
    *_bert_head(a),
  ]


def _deberta_v2(a: Any) -> list[Rule]:
  layer = 'deberta.encoder.layer.{n}'
  names = {'query': 'query_proj', 'key': 'key_proj', 'value': 'value_proj'}
  if not a.shared_projections:
    # With shared projections the content's serve both.
    names |= {'position_key': 'pos_key_proj', 'position_query': 'pos_query_proj'}
  found = [
    *_embeddings('deberta', a, positions=False),
    *_after_attention(layer),
    *_table('deberta.encoder.rel_embeddings', 'relative'),
    *_bert_head(a),
  ]
  for ours, theirs in names.items():
    found += _dense(f'{layer}.attention.self.{theirs}', f'layers/attention/{ours}')
  if a.relative_norm:
    found += _norm('deberta.encoder.LayerNorm', 'relative/norm')
  if a.convolution:
    # X places of the kernel.
    D, X = a.width, a.convolution
    found += [
      # Theirs is [out, in, place]; ours is a product with the places side by side.
      Rule(
        'deberta.encoder.conv.conv.weight',
        ('convolution/kernel/kernel',),
        lambda x: [x.transpose(2, 1, 0).reshape(X * D, D)],
        lambda arrays: arrays[0].reshape(X, D, D).transpose(2, 1, 0),
      ),
      _same('deberta.encoder.conv.conv.bias', 'convolution/kernel/bias'),
      *_norm('deberta.encoder.conv.LayerNorm', 'convolution/norm'),
    ]
  return found


def _modernbert(a: Any) -> list[Rule]:
  """Queries, keys and values are one product there, and so are the gated layer and its gate."""

  def joined(theirs: str, *ours: str) -> Rule:
    return Rule(
      theirs,
      tuple(f'layers/{each}/kernel' for each in ours),
      lambda x: [part.T for part in np.split(x, len(ours))],
      lambda arrays: np.concatenate([x.T for x in arrays]),
    )

  layer = 'model.layers.{n}'
  return [
    _padded('model.embeddings.tok_embeddings.weight', 'embeddings/token/embedding', a),
    *_norm('model.embeddings.norm', 'embeddings/norm', bias=False),
    joined(f'{layer}.attn.Wqkv.weight', 'attention/query', 'attention/key', 'attention/value'),
    *_dense(f'{layer}.attn.Wo', 'layers/attention/out', bias=False),
    # Their first layer has no attention norm; ours has one that is not used, at its initial ones.
    dataclasses.replace(
      _same(f'{layer}.attn_norm.weight', 'layers/attention_norm/scale'),
      first=1,
      unused=(np.ones(a.width, np.float32),),
    ),
    joined(f'{layer}.mlp.Wi.weight', 'feed_forward/in', 'feed_forward/gate'),
    *_dense(f'{layer}.mlp.Wo', 'layers/feed_forward/out', bias=False),
    *_norm(f'{layer}.mlp_norm', 'layers/feed_forward_norm', bias=False),
    *_norm('model.final_norm', 'final_norm', bias=False),
    *_dense('head.dense', 'head/transform', bias=False),
    *_norm('head.norm', 'head/norm', bias=False),
    _padded('decoder.bias', 'head/bias', a),
  ]


def discriminator() -> list[Rule]:
  """Returns the Rules of ELECTRA's discriminator's head (see models/heads.py)."""
  return [
    # It replaces the rules of the masked head, whose paths here are the same.
    *_dense('discriminator_predictions.dense', 'head/transform'),
    *_dense('discriminator_predictions.dense_prediction', 'head/out'),
  ]


_FAMILIES = {
  'bert': _bert,
  'roberta': _roberta,
  'electra': _electra,
  'deberta': _deberta,
  'deberta_v2': _deberta_v2,
  # Version 3 has the classes of version 2 there.
  'deberta_v3': _deberta_v2,
  'modernbert': _modernbert,
}
