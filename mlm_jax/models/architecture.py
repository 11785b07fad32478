"""The numbers of an encoder: all that its modules, its FLOPs and its weights' names depend on."""

import dataclasses
from typing import Any
from typing import TypeVar

_LANES = 128  # rows of the token table come in multiples of this, for the matrix units


@dataclasses.dataclass(frozen=True)
class Architecture:
  """The numbers of an encoder; a family adds its own in a subclass."""

  vocab_size: int
  max_positions: int
  position_offset: int
  uncounted_id: int
  types: int  # 0: the family has none
  embedding_width: int
  layers: int
  width: int
  heads: int
  feed_forward: int
  norm_epsilon: float
  init_std: float
  dropout: float
  attention_dropout: float
  activation: str  # of layers.ACTIVATIONS
  head_activation: str
  tied_head: bool
  dtype: Any  # of the computation; parameters are float32
  scan_layers: bool
  remat: bool

  @property
  def padded_vocab_size(self) -> int:
    """Rows of the token table, those that belong to no token included."""
    return -(-self.vocab_size // _LANES) * _LANES

  def pairs(self, positions: Any) -> Any:
    """Returns how many (query, key) pairs each token adds, on average over the layers.

    Args:
      positions: array of the tokens' positions, counted from 0 inside their documents.
    """
    # The n-th token attends to n + 1 tokens and is attended to by n earlier ones: 1 + 3 + 5 + ...
    # is the square of a document's length.
    return 2 * positions + 1

  def flops(self, tokens: Any, attended: Any, predicted: Any) -> Any:
    """Returns the FLOPs of one forward pass; the arguments are those of flops.training."""
    width, embedding = self.width, self.embedding_width
    # A token's products: query, key, value and output, then both layers of the feed-forward.
    linear = 8 * width**2 + 4 * width * self.feed_forward
    # A pair's products: its score, and its share of the weighted sum of values.
    attention = 4 * width
    # Once a token, where tables are narrower than layers.
    project = 2 * embedding * width if embedding != width else 0
    # The transform, then a product with every token's embedding.
    head = 2 * width * embedding + 2 * embedding * self.vocab_size
    return (
      self.layers * (tokens * linear + attended * attention) + tokens * project + predicted * head
    )


_Kind = TypeVar('_Kind', bound=Architecture)


def make(config: Any, vocab_size: int, kind: type[_Kind] = Architecture, **own: Any) -> _Kind:
  """Returns the Architecture that a resolved config and a family's own numbers describe.

  Args:
    config: the group `model`, resolved.
    vocab_size: pieces of the tokenizer.
    kind: the class, where a family has its own.
    **own: the fields that this class adds.
  """
  common = {field.name: config[field.name] for field in dataclasses.fields(Architecture)}
  common |= {'vocab_size': vocab_size, 'embedding_width': config.embedding_width or config.width}
  return kind(**common, **own)
