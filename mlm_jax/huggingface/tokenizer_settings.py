"""What files beside a folder's vocabulary say of its tokenizer: class, settings, added tokens.

All as `transformers` 5 takes them, whose AutoTokenizer is the measure:

  config.json              model_type and tokenizer_class: which class
  tokenizer_config.json    the class, its settings, names of special tokens, added_tokens_decoder
  special_tokens_map.json  names of special tokens  } both only read where
  added_tokens.json        names and ids            } there is no added_tokens_decoder
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import os
import pathlib
from typing import Any

from tokenizers import AddedToken

from mlm_jax import config

# By the classes' names, without the endings Fast and Tokenizer. These make the tokenizer anew, of
# its vocabulary alone.
_KINDS = {
  **dict.fromkeys(
    ('Bert', 'DistilBert', 'Electra', 'LayoutLM', 'Lxmert', 'MobileBert', 'SqueezeBert'), 'bert'
  ),
  **dict.fromkeys(('Roberta', 'Bart', 'LED', 'Longformer'), 'roberta'),
  'Deberta': 'deberta',
  'DebertaV2': 'deberta_v2',
  'Camembert': 'camembert',
  'XLMRoberta': 'xlm_roberta',
}
# So do these, each in its own way. All others take tokenizer.json as it is.
_UNKNOWN = """
  Albert Barthez Bartpho BertGeneration BertJapanese Bertweet BigBird BioGpt BlenderbotSmall
  Blenderbot ByT5 CLIP CTRL Canine Clvp CodeLlama Cohere ConvBert CpmAnt Cpm DPRContextEncoder
  DPRQuestionEncoder DPRReader Dia Esm Esmc FNet FSMT Flaubert Funnel GPT2 GPTNeoXJapanese
  GPTNeoX GPTSw3 Gemma Herbert Lasr LayoutLMv2 LayoutLMv3 LayoutXLM Llama Luke M2M100 MBart50
  MBart MLuke MPNet Marian MarkupLM Mgpstr Mvp MyT5 Nllb Nougat OpenAIGPT PLBart Parakeet
  Pegasus Perceiver Phobert ProphetNet Qwen2 Qwen3_5 Rag Reformer RemBert RoCBert RoFormer
  SeamlessM4T Siglip2 Siglip Speech2Text SpeechT5 Splinter T5 Tapas Tipsv2 Udop VideoPrism Vits
  Wav2Vec2CTC Wav2Vec2PhonemeCTC Whisper XGLM XLM XLNet
""".split()
_OF_MODELS = {
  'bert': 'BertTokenizer',
  'camembert': 'CamembertTokenizer',
  'deberta': 'DebertaTokenizer',
  'deberta-v2': 'DebertaV2Tokenizer',
  'distilbert': 'BertTokenizer',
  'electra': 'BertTokenizer',
  'modernbert': 'TokenizersBackend',
  'roberta': 'RobertaTokenizer',
  'xlm-roberta': 'XLMRobertaTokenizer',
}
ROLES = ('bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask')
_NAMED = tuple(f'{role}_token' for role in ROLES)


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the files say.

  Attributes:
    kind: 'file', 'bert', 'roberta', 'deberta', 'deberta_v2', 'camembert' or 'xlm_roberta'.
    values: tokenizer_config.json, but for the tokens.
    named: {'bos_token': ..., ...} of the special tokens that are named, and other such names.
    extra: more special tokens; None where nothing is said of them.
    additional: those of them under an old name, which an `extra` overrules.
    added: those that have an id, in its order.
  """

  kind: str
  values: dict[str, Any]
  named: dict[str, Any]
  extra: list[Any] | None
  additional: list[Any] | None
  added: list[AddedToken]


def read(folder: pathlib.Path, serialized: dict[str, Any] | None) -> Settings:
  """Returns the Settings of a folder; `serialized` is its tokenizer.json, or None.

  Raises:
    UserError: a class that is not known; damaged files.
  """
  values = json_object(folder / 'tokenizer_config.json', {})
  kind = _kind(folder, json_object(folder / 'config.json', {}), values)
  extra = values.pop('extra_special_tokens', None)
  if not extra and 'additional_special_tokens' in values:
    extra = values.pop('additional_special_tokens')
  additional = values.pop('additional_special_tokens', None)
  named = {
    key: values.pop(key)
    for key in list(values)
    if key in _NAMED or (key.endswith('_token') and isinstance(values[key], str))
  }
  try:
    if isinstance(extra, dict):
      named, extra = named | extra, None
    tokens = {}
    if 'added_tokens_decoder' in values:
      tokens = {int(i): AddedToken(**each) for i, each in values['added_tokens_decoder'].items()}
    else:
      extra, additional = _of_map(folder, named, extra, additional)
      tokens = _of_files(folder, named, extra or [], serialized)
    by_name = {each.content: each for each in tokens.values()}
    named = {key: _token(value) for key, value in named.items()}
    named = {
      key: by_name.get(str(value), value) if key in _NAMED else value
      for key, value in named.items()
    }
    extra, additional = (
      None if each is None else list(map(_token, each)) for each in (extra, additional)
    )
    added = [tokens[i] for i in sorted(tokens)]
  except (TypeError, ValueError, AttributeError, KeyError) as error:
    raise config.UserError(f'{folder}: the added tokens are damaged ({error})') from None
  return Settings(kind, values, named, extra, additional, added)


def _kind(folder: pathlib.Path, theirs: Mapping[str, Any], values: Mapping[str, Any]) -> str:
  """Returns the kind of the class that AutoTokenizer takes."""
  model = theirs.get('model_type')
  own = _OF_MODELS.get(model) if isinstance(model, str) else None
  name = values.get('tokenizer_class') or theirs.get('tokenizer_class')
  # Folders of ModernBERT often name a class that is wrong.
  if own == 'TokenizersBackend' or not name and (own or not model):
    name = own or _by_files(folder)
  short = str(name).removesuffix('Fast').removesuffix('Tokenizer')
  if short in _UNKNOWN:
    raise config.UserError(
      f'{folder}: the tokenizer_class {name} is not known; known are those of '
      f'{", ".join(_KINDS)}, and PreTrainedTokenizerFast with a tokenizer.json'
    )
  return _KINDS.get(short, 'file')


def _by_files(folder: pathlib.Path) -> str:
  """Returns the class for files that no model came with."""
  for file, name in (
    ('tokenizer.json', 'TokenizersBackend'),
    ('vocab.txt', 'BertTokenizer'),
    ('vocab.json', 'RobertaTokenizer'),
    ('spm.model', 'DebertaV2Tokenizer'),
    ('sentencepiece.bpe.model', 'XLMRobertaTokenizer'),
  ):
    if (folder / file).is_file():
      return name
  return 'TokenizersBackend'


def _of_map(
  folder: pathlib.Path, named: dict[str, Any], extra: Any, additional: Any
) -> tuple[Any, Any]:
  """Takes the names of special_tokens_map.json; returns the (extra, additional) special tokens."""
  special = lambda each: (
    AddedToken(**(each | {'special': True})) if isinstance(each, dict) else each
  )
  for key, value in json_object(folder / 'special_tokens_map.json', {}).items():
    if key == 'extra_special_tokens' and isinstance(value, dict):
      named |= value
    elif key == 'extra_special_tokens':
      extra = list(extra or [])
      extra += [each for each in map(special, value) if each not in extra]
    elif key == 'additional_special_tokens':
      additional = value
    else:
      named[key] = special(value)
  return extra, additional


def _of_files(
  folder: pathlib.Path,
  named: Mapping[str, Any],
  extra: Iterable[Any],
  serialized: dict[str, Any] | None,
) -> dict[int, AddedToken]:
  """Returns {id: token} of added_tokens.json and tokenizer.json."""
  special = {_name(named[key]) for key in _NAMED if named.get(key)} | set(map(_name, extra))
  tokens = {
    i: AddedToken(name, normalized=name not in special, special=name in special)
    for name, i in json_object(folder / 'added_tokens.json', {}).items()
  }
  for each in (serialized or {}).get('added_tokens', []):
    tokens[each['id']] = AddedToken(**{key: value for key, value in each.items() if key != 'id'})
  return tokens


def _name(value: Any) -> str:
  return value['content'] if isinstance(value, dict) else str(value)


def _token(value: Any) -> Any:
  """Returns an AddedToken of a dict, other values as they are."""
  if isinstance(value, dict):
    return AddedToken(**{key: each for key, each in value.items() if key != '__type'})
  return value


def json_object(path: pathlib.Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
  """Returns the dict in a .json file; where there is no file, `default` if one is given."""
  if default is not None and not os.path.lexists(path):
    return default
  try:
    found = config.parse_json(config.read_bytes(path), finite=False)
  except ValueError as error:
    raise config.UserError(f'{path} is damaged: {config.one_line(error)}') from None
  if not isinstance(found, dict):
    raise config.UserError(f'{path} is damaged: it must hold a JSON object')
  return found
