"""What has to be known of a kind of model there, to read it and to write it."""

from collections.abc import Callable
import dataclasses
from typing import Any

from mlm_jax.huggingface import names
from mlm_jax.huggingface.names import Rule
from mlm_jax.huggingface.values import Number
from mlm_jax.huggingface.values import real
from mlm_jax.huggingface.values import whole

MOST_WIDE = 1 << 16
_MOST_DROPPED = 255 / 256  # see config.model.dropout


def dropout(name: str, default: float) -> Number:
  """Returns the Number of a rate of dropout."""
  return real(name, 0, _MOST_DROPPED, default)


# {our setting: the number there} as most kinds have it.
COMMON = {
  'vocab_size': whole('vocab_size', 1, 1 << 24),
  'max_positions': whole('max_position_embeddings', 8, 1 << 20, 512),
  'layers': whole('num_hidden_layers', 1, 1 << 10),
  'width': whole('hidden_size', 1, MOST_WIDE),
  'heads': whole('num_attention_heads', 1, 1 << 12),
  'feed_forward': whole('intermediate_size', 1, 1 << 18),
  'init_std': real('initializer_range', 1e-20, 100, 0.02),
}
POST_NORM = COMMON | {
  'types': whole('type_vocab_size', 1, 1 << 16, 2),
  'norm_epsilon': real('layer_norm_eps', 1e-20, 1, 1e-12),
  'dropout': dropout('hidden_dropout_prob', 0.1),
  'attention_dropout': dropout('attention_probs_dropout_prob', 0.1),
}
# {their setting: the values that are supported}; None: it is absent, and its default is ours.
ABSOLUTE = {
  'position_embedding_type': (None, 'absolute'),
  'is_decoder': (None, False),
  'add_cross_attention': (None, False),
}


@dataclasses.dataclass(frozen=True)
class SequenceHead:
  """What the class for sequence classification has on its encoder, see models.heads.SequenceHead.

  Attributes:
    layer, out: names of its two linear layers there.
    dropout: their setting of its rate.
    norm: name of the norm between them; '' where there is none.
    pooling: their setting of what it reads; '' where that is [CLS].
    needs: as those of a Kind.
  """

  layer: str
  out: str
  dropout: str = 'classifier_dropout'
  norm: str = ''
  pooling: str = ''
  needs: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)

  def rules(self, ours: str) -> list[Rule]:
    """Returns the Rules of its parameters, which are under `ours`."""
    return [
      *names.dense(self.layer, f'{ours}/layer', bias=not self.norm),
      *(names.norm(self.norm, f'{ours}/norm', bias=False) if self.norm else []),
      *names.dense(self.out, f'{ours}/out'),
    ]

  def token_rules(self, out: str, ours: str) -> list[Rule]:
    """Returns the Rules of a class that scores tokens, by `out` alone if it is not ModernBERT's."""
    return self.rules(ours) if self.norm else names.dense(out, f'{ours}/out')


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of model there.

  Attributes:
    families: of ours that it may be.
    prefix: before the names of the encoder's parameters in the classes that have heads.
    masked: the class with a masked-language-model head.
    decoder: the layer of that head which scores tokens.
    numbers: {our setting: the number there}.
    needs: {their setting: the values that are supported}, the absence of a setting being None.
    rules: (architecture of ours) -> Rules of all parameters.
    sequence_head: of the class for sequence classification.
    answer_settings: {their setting: value} of the class for question answering.
    activation: their setting of the feed-forward layers' activation.
    head_activation: their setting of the head's; '' where it is a GELU whatever is set.
    counts_from_padding: whether positions are counted from behind the padding token's id, and skip
      that token.
    has_pooler: whether the encoder's class has a pooler.
    read: (config.json) -> {our setting: value} of what the tables do not say.
    write: (our group `model`) -> {their setting: value}, likewise.
  """

  families: tuple[str, ...]
  prefix: str
  masked: str
  decoder: str
  numbers: dict[str, Number]
  needs: dict[str, tuple[Any, ...]]
  rules: Callable[[Any], list[Rule]]
  sequence_head: SequenceHead
  answer_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
  activation: str = 'hidden_act'
  head_activation: str = 'hidden_act'
  counts_from_padding: bool = False
  has_pooler: bool = False
  read: Callable[[dict[str, Any]], dict[str, Any]] = lambda theirs: {}
  write: Callable[[Any], dict[str, Any]] = lambda config: {}

  @property
  def always_has_types(self) -> bool:
    """Whether its classes have a table of types even where all tokens are of one."""
    return 'types' in self.numbers and self.numbers['types'].least > 0

  def first_position(self, pad_id: int) -> int:
    """Returns the row of the position table that belongs to the first token there."""
    return pad_id + 1 if self.counts_from_padding else 0
