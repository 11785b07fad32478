"""A folder of the Hugging Face ecosystem becomes a run."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import os
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.huggingface import aliases
from mlm_jax.huggingface import folders
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from mlm_jax.huggingface import origin
from mlm_jax.huggingface import sentence_transformers
from mlm_jax.huggingface import settings
from mlm_jax.huggingface import tokenizers
from mlm_jax.huggingface import weights
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.weights import Header
from mlm_jax.models import text_embedding
from mlm_jax.training import checkpoint
from mlm_jax.training import workdir as workdir_lib

# Quantised weights would need their scales, which have no place in a run.
_DTYPES = ('float32', 'float16', 'bfloat16')
# Tensors of the encoder that may be there and have no place in a run: poolers and buffers.
_BESIDE = re.compile(
  r'(\w+\.)?pooler\..*|deberta\.embeddings\.position_embeddings\.weight'
  r'|.*\.(position_ids|token_type_ids)|.*rotary_emb\..*inv_freq'
)


@dataclasses.dataclass(frozen=True)
class Imported:
  """What was read from a folder.

  Attributes:
    config: of a run with this model.
    params: our tree of parameters; without `head` where the folder has none.
    tokenizer: data.tokenizers.base.Tokenizer.
    placed, rest: see origin.write.
    left_out: names of those in `rest` that belong to heads of other tasks.
    embedding: how sentence-transformers makes a vector of a text with it; None where the folder
      does not say so.
  """

  config: Any
  params: dict[str, Any]
  tokenizer: Any
  placed: dict[str, tuple[str, str]]
  rest: dict[str, np.ndarray]
  left_out: list[str]
  embedding: text_embedding.TextEmbedding | None


def run(
  place: str | os.PathLike, workdir: str | os.PathLike, log: Callable[[str], None] = print
) -> None:
  """Makes a run, at step 0, from a folder's weights and tokenizer.

  Args:
    place: see folders.find.
    workdir: of the run; made here, it must not exist or be empty.
    log: takes lines of text.

  Raises:
    UserError: see `read`; something is in workdir already.
  """
  workdir = pathlib.Path(workdir)
  with folders.made(workdir, '--workdir') as partial:  # before the work: it may refuse
    place = folders.find(place, log)
    folder, found = sentence_transformers.transformer(place), read(place)
    config, params = found.config, found.params
    if found.left_out:
      log(
        f'left out, since they are heads of other tasks ({len(found.left_out)}): '
        f'{weights.listed(found.left_out)}'
      )
    if 'head' not in params:
      log(
        f'{folder} has no masked-language-model head: a new one is initialised at random, so '
        'predictions at masks mean nothing before it is trained'
      )
      params = params | {'head': _new_head(config)}
    _write(found, (folder / folders.CONFIG).read_bytes(), params, partial)
  log(
    f'{workdir}: {config.model.family}, {trees.count(params):,} parameters, '
    f'{found.tokenizer.size:,} pieces'
  )


def _new_head(config: Any) -> Any:
  model = models.make(config.model, config.model.vocab_size)
  return jax.jit(lambda key: model.init(key)['head'])(rng.named(rng.root_key(config.seed), 'init'))


def _write(found: Imported, theirs: bytes, params: dict[str, Any], workdir: pathlib.Path) -> None:
  """Writes the run's folder; `theirs` are the bytes of config.json there."""
  path = workdir / store.TOKENIZER
  path.parent.mkdir()
  path.write_bytes(found.tokenizer.model)
  # As training leaves a run, so that every command takes it for one.
  workdir_lib.record_environment(workdir, {'tokenizer': found.tokenizer.sha256})
  workdir_lib.write_config(workdir, found.config)
  origin.write(workdir, theirs, found.placed, found.rest)
  if found.embedding:
    text_embedding.write(workdir, found.embedding)
  saved = checkpoint.Checkpoints(workdir / 'checkpoints', found.config.checkpoint)
  # Step 0: nothing has been trained here yet.
  saved.save(0, {'params': jax.tree.map(jnp.asarray, params)})
  saved.wait()


def read(folder: pathlib.Path) -> Imported:
  """Returns the Imported of a folder.

  Raises:
    UserError: a model or variant that is not supported; tensors that are missing, unexpected
      or of another shape; a tokenizer that does not fit; see also `folders` and `weights`.
  """
  place, folder = folder, sentence_transformers.transformer(folder)
  folders.check_links(folder)
  theirs = folders.read_config(folder)
  config = _config(*settings.to_ours(theirs))
  embedding = sentence_transformers.read(place, config.model.max_positions, config.model.width)
  headers = weights.headers(folder)
  tokenizer = tokenizer_lib.make(tokenizers.from_folder(folder), str(folder))
  # The other way round is common: tables are padded for the hardware.
  if tokenizer.size > config.model.vocab_size:
    raise config_lib.UserError(
      f'{folder}: the tokenizer has {tokenizer.size} pieces, but the token table only '
      f'{config.model.vocab_size} rows; give the tokenizer of this model'
    )
  # Padding of the tokenizer is outside of every document, so it needs no rule.
  if config.model.uncounted_id == tokenizer.pad_id:
    config.model.uncounted_id = -1
  of = kinds.of_config(theirs)
  copies = _copies(config.model, of, headers)
  now = aliases.current(headers, of.prefix, copies)
  rules, shapes, left_out = _fitted(folder, config.model, of, headers, now)
  # Nothing large was allocated so far; all that is read now has its place, or goes back as it came.
  tensors = weights.read(headers)
  named = _named(folder, tensors, now)
  params = names.to_ours(
    rules,
    {name: named[name].astype(np.float32) for name in shapes},
    models.make(config.model, config.model.vocab_size).architecture,
  )
  placed = {was: (name, str(tensors[was].dtype)) for was, name in now.items() if name in shapes}
  rest = {was: array for was, array in tensors.items() if was not in placed}
  return Imported(config, params, tokenizer, placed, rest, left_out, embedding)


def _config(family: str, ours: dict[str, Any]) -> Any:
  """Returns the checked config of a run with the settings of a config.json."""
  config = config_lib.base()
  sizes = models.sizes(family)
  # The size is only a name here, since every number is set; the first that fits will do.
  fits = lambda size: all(ours.get(name, value) == value for name, value in sizes[size].items())
  with config.unlocked():
    config.model.update(family=family, size=next(filter(fits, sizes), next(iter(sizes))))
    for name, value in ours.items():
      group, last = config_lib.find(config.model, name)
      group[last] = value
    models.resolve(config.model)
    # As long as the position table allows; a shorter row is the user's choice.
    config.data.row_length = config.model.max_positions
    # For data to come: the tokenizer that lies in the run, wherever that is (see config.load). It
    # does itself to a text what the model has seen done to texts.
    config.data.update(tokenizer=store.TOKENIZER, unicode='none')
    config.data.update(control_characters='keep', white_space='keep')
  config_lib.check(config)
  return config


def _copies(model: Any, of: Kind, headers: Mapping[str, Header]) -> dict[str, str]:
  """Returns {name there: name of the tensor it is a copy of}, of the head's last layer.

  Sets model.tied_head to False where the folder has a table that is no copy of the tokens', as
  `transformers` does then, whatever config.json says.
  """
  architecture = models.make(model, model.vocab_size).architecture
  theirs = {rule.ours[0]: rule.theirs for rule in of.rules(architecture) if not rule.is_copy}
  tokens, biases = theirs['embeddings/token/embedding'], theirs['head/bias']
  table, second = f'{of.decoder}.weight', f'{of.decoder}.bias'
  # An encoder that was saved by itself has no prefix, but then it has no head either.
  model.tied_head = model.tied_head and _are_equal(headers, tokens, table)
  copies = {table: tokens} if model.tied_head else {}
  if second in headers and second != biases:
    # Biases of that layer are what the classes add; those under the first name may be unused.
    copies |= {second: biases}
    if not _are_equal(headers, biases, second):
      copies |= {biases: f'{biases} (unused)'}
  return copies


def _are_equal(headers: Mapping[str, Header], one: str, other: str) -> bool:
  """Whether two tensors are equal, or one of them is not there, or of another shape."""
  if one not in headers or other not in headers or headers[one].shape != headers[other].shape:
    return True
  if not headers[one].is_readable or not headers[other].is_readable:
    return True  # what cannot be read is refused later, by name
  arrays = weights.read({name: headers[name] for name in (one, other)})
  return np.array_equal(arrays[one], arrays[other])


def _fitted(
  folder: pathlib.Path, model: Any, of: Kind, headers: Mapping[str, Header], now: Mapping[str, str]
) -> tuple[list[names.Rule], dict[str, tuple[int, ...]], list[str]]:
  """Returns (Rules of what the folder has, {name of today: shape}, names that are left out).

  Raises:
    UserError: tensors that do not fit.
  """
  made = models.make(model, model.vocab_size)
  named = {name: headers[was] for was, name in now.items()}
  rules = _required(of.rules(made.architecture), named)
  # Shapes are known before any parameter is made, so a wrong folder is refused at once.
  shapes = names.shapes(rules, jax.eval_shape(made.init, rng.root_key(0)), made.architecture)
  beside = [was for was, name in now.items() if name not in shapes and not _BESIDE.fullmatch(name)]
  # What is under the encoder's name is part of what it computes; what is beside it is a head.
  in_encoder = lambda was: now[was].startswith(f'{of.prefix}.')
  _check(folder, headers, named, shapes, list(filter(in_encoder, beside)))
  return rules, shapes, [was for was in beside if not in_encoder(was)]


def _named(
  folder: pathlib.Path, tensors: dict[str, np.ndarray], now: dict[str, str]
) -> dict[str, np.ndarray]:
  """Returns {name of today: array}; UserError where two tensors that are one there differ."""
  # Tensors under today's name come first: others of that name are compared with them.
  named = {name: tensors[was] for was, name in now.items() if was == name}
  for was, name in now.items():
    # Copies are fine as long as they are copies.
    first = named.setdefault(name, tensors[was])
    if first is not tensors[was] and not np.array_equal(first, tensors[was]):
      raise config_lib.UserError(
        f'{folder}: {was} is not a copy of {name}, whose other name it is; keep one of the two'
      )
  return named


def _required(rules: list[names.Rule], named: Mapping[str, Header]) -> list[names.Rule]:
  """Returns the rules of what the folder must have: a head only where it has part of one."""
  of_head = {rule.ours[0]: rule.theirs for rule in rules if rule.is_of_head and not rule.is_copy}
  has_part = any(name in named for name in of_head.values())
  # ModernBERT's classifiers share names with its masked head, all but those of each token.
  is_classifier = any(name.startswith('classifier.') for name in named)
  has_head = of_head['head/bias'] in named or (has_part and not is_classifier)
  return rules if has_head else [rule for rule in rules if not rule.is_of_head]


def _check(
  folder: pathlib.Path,
  headers: Mapping[str, Header],
  named: Mapping[str, Header],
  shapes: Mapping[str, tuple[int, ...]],
  unexpected: list[str],
) -> None:
  """Raises UserError that lists tensors that are missing, unexpected, or of another form."""
  unreadable = [
    f'{name} {header.dtype}' for name, header in headers.items() if not header.is_readable
  ]
  faults = {
    'missing tensors': [name for name in shapes if name not in named],
    'unexpected tensors': unexpected,
    'tensors of another shape than config.json says': [
      f'{name} {list(named[name].shape)}, not {list(shape)}'
      for name, shape in shapes.items()
      if name in named and named[name].shape != shape
    ],
    f'tensors of a type that is not {" or ".join(_DTYPES)}': unreadable
    + [
      f'{name} {named[name].dtype}'
      for name in shapes
      if name in named and named[name].is_readable and named[name].dtype not in _DTYPES
    ],
  }
  problems = [
    f'{what} ({len(each)}): {weights.listed(each)}' for what, each in faults.items() if each
  ]
  if problems:
    raise config_lib.UserError(f'{folder}: ' + '; '.join(problems))
