"""Words of a domain that become pieces of a tokenizer: which ones, and what they save."""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import itertools
import json
import pathlib
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.data import rows as rows_lib
from mlm_jax.data import tokenizers
from mlm_jax.data.corpus import reading as reading_lib
from mlm_jax.data.corpus.duplicates import SPLITS
from mlm_jax.data.tokenizers import extending

FILE = 'extension.json'  # beside the model, in the folder of prepared data and in that of a run
_AT_LEAST = 2  # times that a word occurs in the training text


@dataclasses.dataclass(frozen=True)
class Extension:
  """What a tokenizer was extended by.

  Attributes:
    extends: the sha256 of the tokenizer before.
    first_id: the id of the first new piece; the others follow.
    pieces: the new ones, in the notation of tokenizers.base.
    parts: the ids that each of them was cut into before.
    saves: the tokens that each saves in the training text, counted by itself.
    tokens_per_word: {split: (before, after)}; a word is what white space separates.
  """

  extends: str
  first_id: int
  pieces: tuple[str, ...]
  parts: tuple[tuple[int, ...], ...]
  saves: tuple[int, ...]
  tokens_per_word: dict[str, tuple[float, float]]

  def said(self) -> str:
    """Returns how many tokens a word has, before and after, as a text."""
    splits = [f'{before:.3f} -> {after:.3f}' for before, after in self.tokens_per_word.values()]
    return (
      f'{len(self.pieces):,} new pieces; tokens per word {splits[0]}, of held-out text {splits[1]}'
    )


def asked(config: Any) -> int:
  """Returns by how many pieces the tokenizer of a run is extended; 0 for none."""
  return config.adapt.new_pieces if 'adapt' in config else 0


def make(
  tokenizer: tokenizers.Tokenizer,
  data: Any,
  readings: Sequence[reading_lib.Reading],
  count: int,
  folder: pathlib.Path,
  log: Callable[[str], Any],
) -> tokenizers.Tokenizer:
  """Returns the extended Tokenizer; writes what was added into the folder.

  Args:
    tokenizer: what is extended.
    data: `config.data`.
    readings: of whose training documents the words are; held-out ones are only measured.
    count: of words, at least 1.
    folder: of the tokenizer.
    log: takes lines of text.

  Raises:
    UserError: a kind that cannot be extended, or too few words.
  """
  extending.check(tokenizer, str(data.tokenizer))
  texts = lambda split: itertools.chain.from_iterable(each.texts(split) for each in readings)
  words = chosen(tokenizer, texts('train'), count)
  model = extending.extended(tokenizer, [(piece, parts) for piece, parts, _ in words])
  made = tokenizers.make(model, str(data.tokenizer), data.tokenizer_threads)
  pieces, parts, saves = zip(*words)
  per_word = {split: _tokens_per_word(tokenizer, made, texts(split)) for split in SPLITS}
  extension = Extension(tokenizer.sha256, tokenizer.size, pieces, parts, saves, per_word)
  text = json.dumps(dataclasses.asdict(extension), ensure_ascii=False, indent=1)
  (folder / FILE).write_text(text + '\n', encoding='utf-8')
  log(f'tokenizer: {extension.said()}')
  return made


def read(folder: pathlib.Path) -> Extension | None:
  """Returns the Extension of a tokenizer's folder, None where it was not extended here.

  Raises:
    UserError: its file is damaged.
  """
  path = folder / FILE
  if not path.is_file():
    return None
  try:
    fields = config_lib.as_tuples(config_lib.read_json(path))
    return Extension(**fields)
  except (TypeError, ValueError):
    raise config_lib.UserError(f'{path} is damaged') from None


def chosen(
  tokenizer: tokenizers.Tokenizer, texts: Iterable[str], count: int
) -> list[tuple[str, tuple[int, ...], int]]:
  """Returns (piece, its parts, tokens that it saves) of the words that save most.

  That is how often a word occurs, times its parts but one. Of equal ones the first in the alphabet
  comes first, so that the order of the texts decides nothing.

  Raises:
    UserError: there are fewer.
  """
  counts = collections.Counter()
  for batch in rows_lib.batched(texts):
    for ids in tokenizer.encode_batch(batch):
      counts.update(_words(tokenizer, ids))
  known = {tokenizer.piece(i) for i in range(tokenizer.size)}
  ranked = sorted(
    (-times * (len(parts) - 1), tokenizer.decode(parts), parts)
    for parts, times in counts.items()
    if times >= _AT_LEAST
  )
  found = {}
  for saves, text, parts in ranked:
    piece = tokenizers.BOUNDARY_MARK + text.removeprefix(' ')
    # As text it must be just this word: no part of a character, nothing that is normalised away.
    if ' ' in piece or piece in known or tuple(tokenizer.encode(text)) != parts:
      continue
    found.setdefault(piece, (piece, parts, -saves))
    if len(found) == count:
      return list(found.values())
  raise config_lib.UserError(
    f'config.adapt.new_pieces = {count}: the training text has {len(found):,} words of several '
    f'pieces that occur {_AT_LEAST} times; lower it to that or give more text'
  )


def _words(tokenizer: tokenizers.Tokenizer, ids: np.ndarray) -> Iterator[tuple[int, ...]]:
  """Yields the words of several pieces that begin with a space; units of masking are these too."""
  special = np.isin(ids, tokenizer.special_ids)
  after = np.concatenate([[True], (tokenizer.ends_V[ids] | special)[:-1]])
  starts = np.flatnonzero(tokenizer.starts_V[ids] | special | after[: len(ids)])
  listed = ids.tolist()
  for begin, end in itertools.pairwise([*starts.tolist(), len(listed)]):
    if end - begin > 1 and tokenizer.piece(listed[begin]).startswith(tokenizers.BOUNDARY_MARK):
      yield tuple(listed[begin:end])


def _tokens_per_word(
  before: tokenizers.Tokenizer, after: tokenizers.Tokenizer, texts: Iterable[str]
) -> tuple[float, float]:
  words, tokens = 0, [0, 0]
  for batch in rows_lib.batched(texts):
    words += sum(len(text.split()) for text in batch)
    for n, each in enumerate((before, after)):
      tokens[n] += sum(map(len, each.encode_batch(batch)))
  words = max(words, 1)
  return tokens[0] / words, tokens[1] / words
