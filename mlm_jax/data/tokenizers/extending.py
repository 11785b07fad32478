"""A tokenizer with whole words as further pieces.

They come behind all other pieces, so that every id stays what it was. A WordPiece takes the longest
piece that fits, and so each new word whole. Of unigrams the cut wins whose scores sum up highest:
a new one scores just above the parts that it replaces. What has no new word in it is cut as before.
A BPE would need merges, and pieces between, for each word.
"""

from collections.abc import Sequence
import json

from mlm_jax import config
from mlm_jax.data.tokenizers import base
from mlm_jax.data.tokenizers import sentencepiece_json
from mlm_jax.data.tokenizers import sentencepiece_model
from mlm_jax.data.tokenizers import tokenizer_json

Word = tuple[str, Sequence[int]]  # in the notation of base; the ids that it is cut into so far


def check(tokenizer: base.Tokenizer, name: str) -> None:
  """Raises UserError for a kind that cannot be extended; `name` is what the message calls it."""
  if isinstance(tokenizer, tokenizer_json.Json):
    kind = tokenizer.model_type
    is_fit = kind in ('WordPiece', 'Unigram')
  else:
    model = sentencepiece_model.parse(tokenizer.model, name).trainer_spec.model_type
    kind = {sentencepiece_json.BPE: 'BPE', sentencepiece_json.WORD: 'word'}.get(model, 'character')
    is_fit = model == sentencepiece_json.UNIGRAM
  if not is_fit:
    raise config.UserError(
      f'{name}: a {kind} tokenizer cannot be extended; a WordPiece and a unigram one can, others '
      'are kept with config.adapt.new_pieces = 0'
    )


def extended(tokenizer: base.Tokenizer, words: Sequence[Word]) -> bytes:
  """Returns the model of a tokenizer that has each of the words as a piece, in their order.

  Args:
    tokenizer: has passed `check`.
    words: none of them a piece already.
  """
  if not isinstance(tokenizer, tokenizer_json.Json):
    return _sentencepiece(tokenizer, words)
  document = json.loads(tokenizer.model)
  vocab = document['model']['vocab']
  is_wordpiece = isinstance(vocab, dict)
  _list_added(document, vocab)
  if is_wordpiece:
    for i, (word, _) in enumerate(words, tokenizer.size):
      vocab[word.removeprefix(base.BOUNDARY_MARK)] = i
  else:
    scores = [score for _, score in vocab]
    vocab.extend([word, _score(scores, parts, tokenizer.byte_ids)] for word, parts in words)
  return json.dumps(document, ensure_ascii=False).encode()


def _list_added(document, vocab):
  """Puts added tokens into the vocabulary: the library numbers others behind all pieces."""
  added = sorted(document.get('added_tokens', ()), key=lambda each: each['id'])
  if isinstance(vocab, dict):
    for each in added:
      vocab.setdefault(each['content'], each['id'])
    return
  known, least = {piece for piece, _ in vocab}, min(score for _, score in vocab)
  # Found in a text before its pieces are, so that their scores decide nothing.
  vocab.extend([each['content'], least] for each in added if each['content'] not in known)


def _sentencepiece(tokenizer, words):
  proto = sentencepiece_model.parse(tokenizer.model, 'the tokenizer')
  rounded = sentencepiece_model.parse(tokenizer.model, 'the tokenizer')
  sentencepiece_json.round_scores(rounded)  # as they are when a text is cut
  scores = [each.score for each in rounded.pieces]
  for word, parts in words:
    proto.pieces.add(piece=word, score=_score(scores, parts, tokenizer.byte_ids))
  proto.trainer_spec.vocab_size = len(proto.pieces)
  return proto.SerializeToString(deterministic=True)


def _score(scores, parts, byte_ids):
  """Returns a score above that of the parts together."""
  # No lower than all others: the lowest one decides what an unknown character costs. One that is
  # spelled in bytes costs more than it, whatever the scores of the bytes.
  least = min(scores)
  total = sum(least if i in byte_ids else scores[i] for i in parts)
  return max(total + sentencepiece_json.QUANTUM, least)
