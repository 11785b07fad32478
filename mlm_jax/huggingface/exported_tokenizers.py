"""A run's tokenizer as the files that `transformers.AutoTokenizer` reads.

It cuts a text as the run does, cleaning and the place of a [MASK] included (see `normalizers`). One
thing differs: the name of another special piece in a text, such as [SEP], is that piece to
`transformers`, while to a run it is letters.
"""

import json
import os
import pathlib
from typing import Any

import tokenizers

from mlm_jax.data.tokenizers import json_documents
from mlm_jax.data.tokenizers import tokenizer_json
from mlm_jax.data.tokenizers.base import NAMES
from mlm_jax.huggingface import normalizers


def write_folder(
  tokenizer: Any,
  data: Any,
  folder: str | os.PathLike,
  max_length: int,
  types: int = 1,
  seps: int | None = None,
) -> None:
  """Writes the files that `transformers.AutoTokenizer.from_pretrained` reads.

  Args:
    tokenizer: data.tokenizers.base.Tokenizer.
    data: `config.data` of the run, by which texts are cleaned.
    folder: exists already.
    max_length: tokens of a text at most, [CLS] and [SEP] among them.
    types: embeddings of token types that the model has; above 1 the model is given types.
    seps: how many [SEP] are between the texts of a pair; None for what the tokenizer has.

  Raises:
    UserError: see `to_json`.
  """
  folder = pathlib.Path(folder)
  ids = {role: getattr(tokenizer, f'{role}_id') for role in NAMES}
  names = {f'{role}_token': tokenizer.piece(i) for role, i in ids.items() if i is not None}
  inputs = ['input_ids', *['token_type_ids'] * (types > 1), 'attention_mask']
  settings = {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'model_max_length': int(max_length),
    'model_input_names': inputs,
    # Decoding would otherwise remove spaces before punctuation.
    'clean_up_tokenization_spaces': False,
    **names,
  }
  serialized = to_json(tokenizer, data)
  if seps is not None:
    serialized = _with_pairs(serialized, tokenizer, seps, types)
  (folder / 'tokenizer.json').write_bytes(serialized)
  for name, entries in (('tokenizer_config.json', settings), ('special_tokens_map.json', names)):
    (folder / name).write_text(
      json.dumps(entries, indent=2, ensure_ascii=False) + '\n', encoding='utf-8'
    )


def to_json(tokenizer: Any, data: Any) -> bytes:
  """Returns the bytes of a tokenizer.json that encodes as `encode_text` does.

  A tokenizer.json passes as it is where texts are not cleaned; only what it lacks for
  `transformers` is added.

  Raises:
    UserError: a SentencePiece model of a kind that tokenizer.json cannot express.
  """
  mask = tokenizer.piece(tokenizer.mask_id)
  if not isinstance(tokenizer, tokenizer_json.Json):
    document = json.loads(tokenizer.document)
    return _bytes(normalizers.with_cleaning(document, data, mask, puts_space=True))
  document = {'normalizer': None, 'added_tokens': []} | json.loads(tokenizer.model)
  around = _around(tokenizer)
  decoder = {
    'wordpiece': json_documents.WORDPIECE_DECODER,
    'byte_level': json_documents.byte_level(),
    'metaspace': json_documents.METASPACE_DECODER,
  }[tokenizer.kind]
  lacking = {
    key: value
    for key, value in (('post_processor', around), ('decoder', decoder))
    if not document.get(key)
  }
  cleaned = normalizers.with_cleaning(document, data, mask)
  return _bytes(cleaned | lacking) if lacking or cleaned is not document else tokenizer.model


def _with_pairs(serialized: bytes, tokenizer: Any, seps: int, types: int) -> bytes:
  """Returns the bytes of a tokenizer.json that puts two texts together as examples of a task are.

  See data/examples/segments.py and core.batches.types; what does so already is left as it is.
  """
  library = tokenizers.Tokenizer.from_buffer(serialized)
  first, second = (library.encode(text, add_special_tokens=False).ids for text in ('a', 'b'))
  sep = tokenizer.sep_id
  ids = [tokenizer.cls_id, *first, *[sep] * seps, *second, sep]
  found = library.encode('a', 'b')
  kinds = [0] * (2 + len(first)) + [1] * (seps + len(second))
  if found.ids == ids and (types < 2 or found.type_ids == kinds):
    return serialized
  return _bytes(json.loads(serialized) | {'post_processor': _around(tokenizer, seps)})


def _around(tokenizer: Any, seps: int = 1) -> dict:
  """Returns the post-processor of a tokenizer, see json_documents.around."""
  cls, sep = ((tokenizer.piece(i), i) for i in (tokenizer.cls_id, tokenizer.sep_id))
  return json_documents.around(cls, sep, seps)


def _bytes(document: dict) -> bytes:
  return json.dumps(document, ensure_ascii=False).encode()
