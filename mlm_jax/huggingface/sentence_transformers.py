"""Folders of sentence-transformers: how they make a vector of a text, read and written.

Such a folder is one of `transformers`, with

  modules.json                       what follows what: a Transformer, a Pooling, and perhaps more
  N_Pooling/config.json              what is made of the tokens' vectors
  N_Dense, N_LayerNorm               config.json and model.safetensors of a layer behind it
  sentence_bert_config.json          the longest text, and whether it is put into lower case
  config_sentence_transformers.json  prompts and the measure of similarity

Names of settings are those of all versions up to 6; what is written is read by all of them.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import json
import os
import pathlib
from typing import Any

import numpy as np
import safetensors.numpy

from mlm_jax import config as config_lib
from mlm_jax.huggingface import folders
from mlm_jax.huggingface import weights
from mlm_jax.models import pooling
from mlm_jax.models.text_embedding import TextEmbedding

MODULES = 'modules.json'
_TEXTS, _WHOLE = 'sentence_bert_config.json', 'config_sentence_transformers.json'
# Before version 5 each mode had a switch; their order is that of the result.
_SWITCHES = {
  'pooling_mode_cls_token': 'cls',
  'pooling_mode_max_tokens': 'max',
  'pooling_mode_mean_tokens': 'mean',
  'pooling_mode_mean_sqrt_len_tokens': 'mean_sqrt_len_tokens',
  'pooling_mode_weightedmean_tokens': 'weightedmean',
  'pooling_mode_lasttoken': 'lasttoken',
}
_OUTPUT = {'text': {'method': 'forward', 'method_output_name': 'last_hidden_state'}}
# Settings that would change a result in a way that a run has no place for, and the values at which
# they change nothing.
_OF_TRANSFORMER: dict[str, tuple[Any, ...]] = {
  'transformer_task': ('feature-extraction',),
  'modality_config': (_OUTPUT,),
  'module_output_name': ('token_embeddings',),
  'tokenizer_name_or_path': (None,),
  **dict.fromkeys(('query_length', 'document_length', 'query_expansion'), (None,)),
  **dict.fromkeys(('processing_kwargs', 'config_args', 'config_kwargs'), ({}, None)),
}
_OF_LAYER = dict.fromkeys(('module_input_name', 'module_output_name'), ('sentence_embedding', None))
# Where and how fast PyTorch computes: of no meaning here.
_OF_PYTORCH = frozenset(('torch_dtype', 'dtype', 'attn_implementation', 'low_cpu_mem_usage'))
_ACTIVATION = 'torch.nn.modules.activation.Tanh'  # where a layer names none


def transformer(folder: pathlib.Path) -> pathlib.Path:
  """Returns the folder of weights and tokenizer: `folder` itself, or, as of old, one inside it."""
  modules = _modules(folder)
  return folder / modules[0]['path'] if modules else folder


def read(folder: pathlib.Path, most: int, width: int) -> TextEmbedding | None:
  """Returns how a folder makes a vector of a text; None where it is not of sentence-transformers.

  Args:
    folder: path.
    most: tokens of a text that the model has positions for.
    width: of the model.

  Raises:
    UserError: it does so in a way that a run cannot, or a file is damaged.
  """
  modules = _modules(folder)
  if modules is None:
    return None
  kinds = [_kind(folder, each) for each in modules]
  if kinds[:2] != ['Transformer', 'Pooling']:
    raise _refusal(folder, f'{MODULES} begins with {" and ".join(kinds[:2])}')
  whole = _object(folder / _WHOLE)
  if whole.get('model_type', 'SentenceTransformer') != 'SentenceTransformer':
    raise _refusal(folder, f'model_type = {whole["model_type"]!r} in {_WHOLE}')
  pooled = _object(folder / modules[1]['path'] / folders.CONFIG)
  layers = [
    _layer(folder, kind, folder / each['path']) for kind, each in zip(kinds[2:], modules[2:])
  ]
  _check_widths(folder, width * len(_modes(folder, pooled)), layers)
  length, lowercase = _texts(folder, folder / modules[0]['path'])
  prompts, default = whole.get('prompts') or {}, whole.get('default_prompt_name') or ''
  if not isinstance(prompts, dict) or default and default not in prompts:
    raise config_lib.UserError(f'{folder / _WHOLE} is damaged: default_prompt_name names no prompt')
  return TextEmbedding(
    modes=_modes(folder, pooled),
    modules=tuple(layer for layer in layers if layer is not None),
    max_tokens=length if 0 < length < most else 0,
    lowercase=lowercase,
    prompts={str(name): str(text or '') for name, text in prompts.items()},
    default_prompt=default,
    include_prompt=bool(pooled.get('include_prompt', True)),
    similarity=whole.get('similarity_fn_name') or '',
  )


def _modules(folder: pathlib.Path) -> list[dict[str, str]] | None:
  """Returns the entries of modules.json, None without one."""
  path = folder / MODULES
  if not os.path.lexists(path):
    return None
  try:
    modules = config_lib.parse_json(config_lib.read_bytes(path), finite=False)
    # The file comes from outside and must not lead outside.
    is_inside = all(
      not pathlib.PurePath(each['path']).is_absolute()
      and '..' not in pathlib.PurePath(each['path']).parts
      and isinstance(each['type'], str)
      for each in modules
    )
  except (ValueError, KeyError, TypeError):
    raise config_lib.UserError(f'{path} is damaged; download it again') from None
  if not is_inside or not modules:
    raise config_lib.UserError(f'{path} is damaged or leads outside its folder; download it again')
  for each in modules:  # one without settings may lack its folder
    if os.path.lexists(folder / each['path']) and not (folder / each['path']).is_dir():
      raise config_lib.UserError(f'{folder / each["path"]} is not a folder; download it again')
  return modules


def _kind(folder: pathlib.Path, module: Mapping[str, str]) -> str:
  """Returns the name of a module's class; UserError for one that is not of the library."""
  library, *_, kind = module['type'].split('.')
  if library != 'sentence_transformers':
    raise _refusal(folder, f'{MODULES} names the class {module["type"]}, a program of its own')
  return kind


def _refusal(folder: pathlib.Path, what: str) -> config_lib.UserError:
  return config_lib.UserError(
    f'{folder}: {what}, which has no place in a run; to import the encoder alone, move {MODULES} '
    'away'
  )


def _object(path: pathlib.Path) -> dict[str, Any]:
  """Returns the dict in a .json file; {} without the file, in which every setting has a default."""
  if not os.path.lexists(path):
    return {}
  found = config_lib.read_json(path, finite=False)
  if not isinstance(found, dict):
    raise config_lib.UserError(f'{path} is damaged: it must hold a JSON object')
  return found


def _check(
  folder: pathlib.Path,
  file: str,
  settings: Mapping[str, Any],
  only: Mapping[str, tuple[Any, ...]],
) -> None:
  """Raises UserError for a setting that a run has no place for."""
  for name, value in settings.items():
    if name in only and value not in only[name]:
      raise _refusal(folder, f'{name} = {value!r} in {file}')


def _texts(folder: pathlib.Path, inner: pathlib.Path) -> tuple[int, bool]:
  """Returns (tokens of a text at most, 0 = not said; whether it is put into lower case)."""
  # Up to version 5 it is called by the model that it was first made for.
  others = sorted(inner.glob('sentence_*_config.json'))
  path = others[0] if others and not (inner / _TEXTS).is_file() else inner / _TEXTS
  settings = _object(path)
  _check(folder, path.name, settings, _OF_TRANSFORMER)
  arguments = settings.get('model_args') or settings.get('model_kwargs') or {}
  if others := sorted(set(arguments) - _OF_PYTORCH):
    raise _refusal(folder, f'model_args with {", ".join(others)} in {path.name}')
  of_tokenizer = settings.get('tokenizer_args') or settings.get('processor_kwargs') or {}
  if others := sorted(set(of_tokenizer) - {'model_max_length'}):
    raise _refusal(folder, f'tokenizer_args with {", ".join(others)} in {path.name}')
  length = (
    of_tokenizer.get('model_max_length')
    or settings.get('max_seq_length')
    or _object(inner / 'tokenizer_config.json').get('model_max_length')
    or 0
  )
  # At least one beside [CLS] and [SEP].
  if not config_lib.is_number(length) or length and length < 3:
    raise config_lib.UserError(f'{path}: a text of {length!r} tokens at most cannot be')
  return int(length), bool(settings.get('do_lower_case', False))


def _modes(folder: pathlib.Path, settings: Mapping[str, Any]) -> tuple[str, ...]:
  """Returns the modes of a Pooling's config.json."""
  modes = settings.get('pooling_mode')
  if modes is None:
    modes = [mode for switch, mode in _SWITCHES.items() if settings.get(switch)] or ['mean']
  modes = [modes] if isinstance(modes, str) else modes
  unknown = {name for name in settings if name.startswith('pooling_mode_')} - set(_SWITCHES)
  if unknown or not isinstance(modes, list) or not set(modes) <= set(pooling.MODES):
    raise _refusal(folder, f'the pooling {", ".join(sorted(unknown)) or modes!r}')
  return tuple(modes)


def _layer(folder: pathlib.Path, kind: str, place: pathlib.Path) -> pooling.Module | None:
  """Returns the module of a folder behind the Pooling; None for one that only training sees."""
  settings = _object(place / folders.CONFIG)
  _check(folder, f'{place.name}/{folders.CONFIG}', settings, _OF_LAYER)
  if kind == 'Dropout':
    return None
  if kind == 'Normalize':
    return pooling.Normalize()
  if kind not in ('Dense', 'LayerNorm'):
    raise _refusal(folder, f'{MODULES} names the module {kind}')
  found = weights.read(weights.headers(place))
  tensors = {name: array.astype(np.float32) for name, array in found.items()}
  try:
    if kind == 'LayerNorm':
      return pooling.LayerNorm(tensors['norm.weight'], tensors['norm.bias'])
    return _dense(folder, settings, tensors)
  except KeyError as error:
    raise config_lib.UserError(f'{place} lacks the tensor {error}; download it again') from None


def _dense(
  folder: pathlib.Path, settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> pooling.Dense:
  path = str(settings.get('activation_function', _ACTIVATION))
  name = path.rpartition('.')[2]
  # Whatever else it names would have to be run.
  if not path.startswith('torch.nn.') or name not in pooling.ACTIVATIONS:
    raise _refusal(folder, f'activation_function = {path!r} of a Dense')
  is_residual = bool(settings.get('use_residual', False))
  return pooling.Dense(
    tensors['linear.weight'].T,
    tensors['linear.bias'] if settings.get('bias', True) else None,
    name,
    is_residual,
    tensors['residual.weight'].T if 'residual.weight' in tensors and is_residual else None,
  )


def _check_widths(
  folder: pathlib.Path, width: int, layers: Sequence[pooling.Module | None]
) -> None:
  """Raises UserError where layers do not fit each other, or vectors of this width."""
  for layer in layers:
    shape = (width,)
    if isinstance(layer, pooling.LayerNorm):
      shape = layer.scale.shape
    if isinstance(layer, pooling.Dense):
      shape = layer.kernel.shape
    if shape[0] != width:
      raise config_lib.UserError(
        f'{folder}: a {type(layer).__name__} for vectors of {shape[0]} numbers is given {width}'
      )
    width = shape[-1]


# Writing


def write(folder: pathlib.Path, embedding: TextEmbedding, width: int, most: int) -> None:
  """Writes the files by which sentence-transformers makes the same vectors.

  Args:
    folder: of the encoder's weights and its tokenizer.
    embedding: how a vector is made.
    width: of the encoder.
    most: tokens of a text, where the embedding does not say it.
  """
  kinds = ['Transformer', 'Pooling', *(type(module).__name__ for module in embedding.modules)]
  modules = [
    {
      'idx': n,
      'name': str(n),
      'path': f'{n}_{kind}' if n else '',
      'type': f'sentence_transformers.models.{kind}',
    }
    for n, kind in enumerate(kinds)
  ]
  _write(folder / MODULES, modules)
  texts = {
    'max_seq_length': embedding.max_tokens or most,
    'do_lower_case': embedding.lowercase,
  }
  _write(folder / _TEXTS, texts)
  whole = {
    'prompts': dict(embedding.prompts),
    'default_prompt_name': embedding.default_prompt or None,
    'similarity_fn_name': embedding.similarity or None,
  }
  _write(folder / _WHOLE, whole)
  # The mean is the default there; what old versions do not know is said where it is needed alone.
  pooled: dict[str, Any] = {'word_embedding_dimension': width, 'pooling_mode_mean_tokens': False}
  pooled |= {switch: True for switch, mode in _SWITCHES.items() if mode in embedding.modes}
  if not embedding.include_prompt:
    pooled['include_prompt'] = False
  # The switches know one order; another one is said in the words of version 5 and later.
  if embedding.modes != tuple(mode for mode in _SWITCHES.values() if mode in embedding.modes):
    pooled['pooling_mode'] = list(embedding.modes)
  _write(folder / '1_Pooling' / folders.CONFIG, pooled)
  for n, module in enumerate(embedding.modules, 2):
    _write_layer(folder / f'{n}_{type(module).__name__}', module)


def _write_layer(place: pathlib.Path, module: pooling.Module) -> None:
  place.mkdir()  # a Normalize has no settings; the library still wants its folder
  if isinstance(module, pooling.LayerNorm):
    _write(place / folders.CONFIG, {'dimension': len(module.scale)})
    _save(place, {'norm.weight': module.scale, 'norm.bias': module.bias})
  if isinstance(module, pooling.Dense):
    where = 'linear' if module.activation == 'Identity' else 'activation'
    settings = {
      'in_features': module.kernel.shape[0],
      'out_features': module.kernel.shape[1],
      'bias': module.bias is not None,
      'activation_function': f'torch.nn.modules.{where}.{module.activation}',
    }
    # Versions before 5.7 know no residual and refuse the word.
    settings |= {'use_residual': True} if module.is_residual else {}
    _write(place / folders.CONFIG, settings)
    tensors = {'linear.weight': module.kernel.T}
    tensors |= {} if module.bias is None else {'linear.bias': module.bias}
    tensors |= {} if module.residual is None else {'residual.weight': module.residual.T}
    _save(place, tensors)


def _save(place: pathlib.Path, tensors: Mapping[str, Any]) -> None:
  arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}
  safetensors.numpy.save_file(arrays, place / folders.TENSORS, {'format': 'pt'})


def _write(path: pathlib.Path, content: Any) -> None:
  path.parent.mkdir(exist_ok=True)
  text = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
  path.write_text(text, encoding='utf-8')
