"""Tokenizers of Hugging Face folders, as one tokenizer.json.

They cut a text as `transformers.AutoTokenizer` (5.x) does. For some classes that library takes a
tokenizer.json as it is. The others, as BERT's, make a tokenizer of the vocabulary alone, wherever
it is from, and take the rest from tokenizer_config.json. All add the tokens that
`tokenizer_settings` lists. Where this says what tokenizer.json says, that file is given, byte for
byte. One thing differs: the name of a piece that rows are made with, such as [SEP], is just letters
in a text.
"""

import base64
import dataclasses
import json
import os
import pathlib
from typing import Any

import tokenizers
from tokenizers import AddedToken
from tokenizers import decoders
from tokenizers import models
from tokenizers import normalizers
from tokenizers import pre_tokenizers

from mlm_jax import config
from mlm_jax.data.tokenizers import base
from mlm_jax.data.tokenizers import json_documents
from mlm_jax.data.tokenizers import sentencepiece_model
from mlm_jax.data.tokenizers.base import BOUNDARY_MARK
from mlm_jax.data.tokenizers.base import NAMES
from mlm_jax.huggingface import tokenizer_settings
from mlm_jax.huggingface.tokenizer_settings import ROLES
from mlm_jax.huggingface.tokenizer_settings import Settings

_JSON = 'tokenizer.json'
_BERT_NAMES = dict(unk='[UNK]', sep='[SEP]', pad='[PAD]', cls='[CLS]', mask='[MASK]')
_DEBERTA_NAMES = dict(bos='[CLS]', eos='[SEP]', **_BERT_NAMES)
_ROBERTA_NAMES = dict(
  bos='<s>', eos='</s>', unk='<unk>', sep='</s>', pad='<pad>', cls='<s>', mask='<mask>'
)
# Names of special tokens where no file says other ones, and the files without a tokenizer.json.
_DEFAULTS = {
  'file': {},
  'bert': _BERT_NAMES,
  'roberta': _ROBERTA_NAMES,
  'deberta': _DEBERTA_NAMES,
  'deberta_v2': _DEBERTA_NAMES,
  'camembert': _ROBERTA_NAMES,
  'xlm_roberta': _ROBERTA_NAMES,
}
_FILES = {
  'file': (_JSON,),
  'bert': ('vocab.txt',),
  'roberta': ('vocab.json', 'merges.txt'),
  'deberta': ('vocab.json', 'merges.txt'),
  'deberta_v2': ('spm.model',),
  'camembert': ('sentencepiece.bpe.model',),
  'xlm_roberta': ('sentencepiece.bpe.model',),
}
_NOT_USED = ['<s>NOTUSED', '</s>NOTUSED', '<unk>NOTUSED']  # CamemBERT's extra special tokens


def from_folder(folder: str | os.PathLike) -> bytes:
  """Returns the bytes of a folder's tokenizer, for data.tokenizers.make.

  Raises:
    UserError: none of the files that its class reads is there, one is damaged, or they say what a
      run cannot do.
  """
  folder = pathlib.Path(folder)
  path = folder / _JSON
  serialized = tokenizer_settings.json_object(path) if path.is_file() else None
  settings = tokenizer_settings.read(folder, serialized)
  has_files = lambda kind: all((folder / name).is_file() for name in _FILES[kind])
  if serialized is None and not has_files(settings.kind):
    # Another kind of vocabulary than the class reads: `transformers` gives up here.
    others = [kind for kind in _FILES if has_files(kind)]
    settings = dataclasses.replace(settings, kind=(others or [settings.kind])[0])
  files = ' with '.join(_FILES[settings.kind])
  if serialized is None and not has_files(settings.kind):
    raise config.UserError(
      f'{folder} has no tokenizer: it must have {" or ".join(dict.fromkeys((_JSON, files)))}'
    )
  try:
    library, given = _made(folder, settings, serialized)
  except config.UserError:
    raise
  except Exception as error:  # the library raises just that
    what = files if serialized is None else _JSON
    raise config.UserError(f'{folder}: {what} is damaged ({error})') from None
  document = json.loads(library.to_str())
  _check(folder, settings, library)
  is_as_said = serialized and _ids_of(serialized) == _ids_of(document)
  if is_as_said and given and _same(document, json.loads(given.to_str())):
    return config.read_bytes(path)
  ids = library.get_vocab()
  cls, sep = (next(name for name in NAMES[role] if name in ids) for role in ('cls', 'sep'))
  document['post_processor'] = json_documents.around((cls, ids[cls]), (sep, ids[sep]))
  return json.dumps(document, ensure_ascii=False).encode()


def _made(
  folder: pathlib.Path, settings: Settings, serialized: dict[str, Any] | None
) -> tuple[tokenizers.Tokenizer, tokenizers.Tokenizer | None]:
  """Returns (what the class makes, the tokenizer.json as it is, if there is one)."""
  given = tokenizers.Tokenizer.from_str(json.dumps(serialized)) if serialized else None
  named = {f'{role}_token': name for role, name in _DEFAULTS[settings.kind].items()}
  named |= settings.named
  additional = settings.additional
  if serialized and settings.kind == 'file':
    library = tokenizers.Tokenizer.from_str(json.dumps(serialized))
  elif settings.kind == 'bert':
    library = _bert(folder, settings.values, str(named['unk_token']), serialized)
  elif settings.kind in ('roberta', 'deberta'):
    library = _byte_level(folder, settings.values, serialized)
  else:
    library, pieces = _unigrams(folder, settings, named, serialized)
    additional = additional if pieces is None else pieces
  if settings.kind == 'camembert':
    additional = _NOT_USED if additional is None else additional
    if isinstance(named['mask_token'], str):
      named['mask_token'] = AddedToken(named['mask_token'], lstrip=True, special=True)
  extra = additional if settings.extra is None else settings.extra
  _add(library, settings.added, [each for each in named.values() if each is not None], extra or [])
  return library, given


def _add(
  library: tokenizers.Tokenizer, added: list[AddedToken], named: list[Any], extra: list[Any]
) -> None:
  """Adds tokens, each with the next id, unless it is in the vocabulary."""
  known = {each.content for each in library.get_added_tokens_decoder().values()}
  known |= {each.content for each in added}
  tokens: list[Any] = list(added)
  for each in [*named, *extra]:
    if str(each) not in known and each not in tokens:
      tokens.append(each)
  names = set(map(str, named))
  for n, each in enumerate(tokens):
    if isinstance(each, str):
      tokens[n] = AddedToken(each, special=True)
    elif str(each) in names:
      each.special = True
  library.add_tokens(tokens)


def _bert(
  folder: pathlib.Path, values: dict[str, Any], unknown: str, serialized: dict[str, Any] | None
) -> tokenizers.Tokenizer:
  vocab: Any = str(folder / 'vocab.txt')
  if serialized:
    vocab = _ids(serialized)
  library = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token=unknown))
  if unknown not in library.get_vocab():
    raise base.missing(str(folder), 'unk', 'among its tokens')
  library.normalizer = normalizers.BertNormalizer(
    clean_text=True,
    handle_chinese_chars=values.get('tokenize_chinese_chars', True),
    strip_accents=values.get('strip_accents'),
    lowercase=values.get('do_lower_case', True),
  )
  library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  library.decoder = decoders.WordPiece(prefix=json_documents.PREFIX)
  return library


def _ids(serialized: dict[str, Any]) -> dict[str, int]:
  """Returns the vocabulary of a tokenizer.json, whatever its model is, as {piece: id}."""
  vocab = serialized['model']['vocab']
  if isinstance(vocab, dict):
    return vocab
  return {each[0] if isinstance(each, list) else each: i for i, each in enumerate(vocab)}


def _byte_level(
  folder: pathlib.Path, values: dict[str, Any], serialized: dict[str, Any] | None
) -> tokenizers.Tokenizer:
  vocab: Any = str(folder / 'vocab.json')
  merges: Any = str(folder / 'merges.txt')
  if serialized:
    vocab = _ids(serialized)
    merges = [
      tuple(each.split(' ')) if isinstance(each, str) else tuple(each)
      for each in serialized['model'].get('merges', [])
    ]
  library = tokenizers.Tokenizer(
    models.BPE(
      vocab=vocab,
      merges=merges,
      dropout=None,
      continuing_subword_prefix='',
      end_of_word_suffix='',
      fuse_unk=False,
    )
  )
  prefix = values.get('add_prefix_space', False)
  library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
  library.decoder = decoders.ByteLevel()
  return library


def _unigrams(
  folder: pathlib.Path,
  settings: Settings,
  named: dict[str, Any],
  serialized: dict[str, Any] | None,
) -> tuple[tokenizers.Tokenizer, list[AddedToken] | None]:
  """Returns (the tokenizer of DeBERTa-v2, CamemBERT or XLM-R, the special pieces of a .model)."""
  kind, values = settings.kind, settings.values
  pieces, charsmap, unknown_id = None, None, values.get('unk_id', 1)
  if serialized:
    vocab = [tuple(each) for each in serialized['model']['vocab']]
    charsmap = _charsmap(serialized)
  else:
    path = folder / _FILES[kind][0]
    proto = sentencepiece_model.parse(config.read_bytes(path), str(path))
    types = proto.SentencePiece
    vocab = _offset(kind, [(each.piece, each.score) for each in proto.pieces], named)
    charsmap = proto.normalizer_spec.precompiled_charsmap or None
    unknown_id = proto.trainer_spec.unk_id
    pieces = [
      AddedToken(each.piece, normalized=False, special=each.type == types.CONTROL)
      for each in proto.pieces
      if each.type in (types.CONTROL, types.USER_DEFINED)
    ]
  unknown = str(named['unk_token'])
  if kind == 'deberta_v2':
    unknown_id = vocab.index((unknown, 0.0)) if (unknown, 0.0) in vocab else unknown_id
  elif kind == 'camembert':
    unknown_id = next((i for i, (name, _) in enumerate(vocab) if name == unknown), 0)
  else:
    unknown_id = 3
  library = tokenizers.Tokenizer(models.Unigram(vocab, unk_id=unknown_id, byte_fallback=False))
  prefix = values.get('add_prefix_space', True)
  if kind == 'deberta_v2':
    _like_deberta_v2(library, values, 'always' if prefix else 'first')
  else:
    _like_fairseq(library, charsmap, 'always' if prefix else 'never')
  return library, pieces


def _offset(kind: str, vocab: list, named: dict[str, Any]) -> list:
  """Returns a model's pieces with those before them that fairseq puts there, and the mask."""
  name = lambda role: (str(named[f'{role}_token']), 0.0)
  if kind == 'xlm_roberta':
    return [name('bos'), name('pad'), name('eos'), name('unk'), *vocab[3:], name('mask')]
  if kind == 'camembert':
    first, second, third = _NOT_USED
    before = [(first, 0.0), name('pad'), (second, 0.0), name('unk'), (third, -100.0)]
    return [*before, *vocab[1:], name('mask')]
  return vocab


def _charsmap(serialized: dict[str, Any]) -> bytes | None:
  """Returns the first compiled normalisation in a tokenizer.json."""
  normalizer = serialized.get('normalizer') or {}
  for each in normalizer.get('normalizers', [normalizer]):
    if each.get('type') == 'Precompiled':
      return base64.b64decode(each['precompiled_charsmap'])
  return None


def _like_deberta_v2(library: tokenizers.Tokenizer, values: dict[str, Any], scheme: Any) -> None:
  library.normalizer = normalizers.Sequence(
    [
      *([normalizers.Lowercase()] if values.get('do_lower_case') else []),
      normalizers.Replace(tokenizers.Regex(r'\s{2,}|[\n\r\t]'), ' '),
      normalizers.NFC(),
      normalizers.Strip(left=False, right=True),
    ]
  )
  library.pre_tokenizer = pre_tokenizers.Sequence(
    [
      *([pre_tokenizers.Punctuation('isolated')] if values.get('split_by_punct') else []),
      pre_tokenizers.Metaspace(BOUNDARY_MARK, scheme),
    ]
  )
  library.decoder = decoders.Metaspace(BOUNDARY_MARK, scheme)


def _like_fairseq(library: tokenizers.Tokenizer, charsmap: bytes | None, scheme: Any) -> None:
  if charsmap:
    library.normalizer = normalizers.Precompiled(charsmap)
  library.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(BOUNDARY_MARK, scheme)]
  )
  library.decoder = decoders.Metaspace(BOUNDARY_MARK, scheme)


def _ids_of(document: dict[str, Any]) -> dict[str, int]:
  return {each['content']: each['id'] for each in document.get('added_tokens', [])}


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
  """Whether two documents cut texts alike, as far as can be seen."""
  parts = ('normalizer', 'pre_tokenizer', 'added_tokens', 'model')
  plain = lambda each: {key: value for key, value in each.items() if value not in (None, '')}
  return all(
    one[part] == other[part] or part == 'model' and plain(one[part]) == plain(other[part])
    for part in parts
  )


def _check(folder: pathlib.Path, settings: Settings, library: tokenizers.Tokenizer) -> None:
  """Raises UserError where a run would take another piece for special than the files say."""
  special = {each.content for each in library.get_added_tokens_decoder().values() if each.special}
  if settings.values.get('split_special_tokens') and special - set(sum(NAMES.values(), ())):
    raise config.UserError(
      f'{folder}: split_special_tokens is not supported with special tokens beside those of a row; '
      'set it to false in tokenizer_config.json'
    )
  ids = library.get_vocab()
  named = {f'{role}_token': name for role, name in _DEFAULTS[settings.kind].items()}
  named |= settings.named
  for role in set(ROLES) & set(NAMES):
    found = next((name for name in NAMES[role] if name in ids), None)
    if found is None and role in ('cls', 'sep'):
      raise base.missing(str(folder), role, 'among its tokens')
    said = named.get(f'{role}_token')
    if said is not None and found is not None and role != 'unk' and str(said) != found:
      raise config.UserError(
        f'{folder}: its {role}_token is {said}, but its vocabulary has {found}, which a run takes '
        f'for it; the name must be {" or ".join(NAMES[role])}, and the other one absent'
      )
