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
from mlm_jax.huggingface import imported_tokenizers
from mlm_jax.huggingface import names
from mlm_jax.huggingface import origin
from mlm_jax.huggingface import sentence_transformers
from mlm_jax.huggingface import settings
from mlm_jax.models import text_embedding
from mlm_jax.training import checkpoint
from mlm_jax.training import workdir as workdir_lib

_SHOWN = 8  # tensors that an error names
# Quantised weights would need their scales, which have no place in a run.
_DTYPES = ('float32', 'float16', 'bfloat16')
# Tensors that may be there and have no place in a run: poolers, other heads, buffers.
_BESIDE = re.compile(
  r'(\w+\.)?pooler\..*|cls\.seq_relationship\..*|discriminator_predictions\..*|mask_predictions\..*'
  r'|deberta\.embeddings\.position_embeddings\.weight|.*\.(position_ids|token_type_ids)'
  r'|.*rotary_emb\..*inv_freq'
)


@dataclasses.dataclass(frozen=True)
class Imported:
  """What was read from a folder.

  Attributes:
    config: of a run with this model.
    params: our tree of parameters; without `head` where the folder has none.
    tokenizer: data.tokenizers.base.Tokenizer.
    placed, rest: see origin.write.
    embedding: how sentence-transformers makes a vector of a text with it; None where the folder
      does not say so.
  """

  config: Any
  params: dict[str, Any]
  tokenizer: Any
  placed: dict[str, tuple[str, str]]
  rest: dict[str, np.ndarray]
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
      or of another shape; a tokenizer that does not fit; see also `folders`.
  """
  place, folder = folder, sentence_transformers.transformer(folder)
  theirs = folders.read_config(folder)
  config = _config(*settings.to_ours(theirs))
  embedding = sentence_transformers.read(place, config.model.max_positions, config.model.width)
  tensors = folders.read_tensors(folder)
  tokenizer = tokenizer_lib.make(imported_tokenizers.from_folder(folder), str(folder))
  # The other way round is common: tables are padded for the hardware.
  if tokenizer.size > config.model.vocab_size:
    raise config_lib.UserError(
      f'{folder}: the tokenizer has {tokenizer.size} pieces, but the token table only '
      f'{config.model.vocab_size} rows; give the tokenizer of this model'
    )
  params, placed = _params(folder, config.model, settings.kind(theirs).prefix, tensors)
  rest = {was: array for was, array in tensors.items() if was not in placed}
  return Imported(config, params, tokenizer, placed, rest, embedding)


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
      try:
        # config.json may have 1 where the config has 1.0.
        group[last] = type(group[last])(value)
      except (TypeError, ValueError):
        raise config_lib.UserError(
          f'config.json: {value!r} is not a value for config.model.{name}'
        ) from None
    models.resolve(config.model)
    # As long as the position table allows; a shorter row is the user's choice.
    config.data.row_length = config.model.max_positions
    # For data to come: the tokenizer that lies in the run, wherever that is (see config.load). It
    # does itself to a text what the model has seen done to texts.
    config.data.update(tokenizer=store.TOKENIZER, unicode='none')
    config.data.update(control_characters='keep', boundary_mark='keep', white_space='keep')
  config_lib.check(config)
  return config


def _params(
  folder: pathlib.Path, model: Any, prefix: str, tensors: dict[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
  """Returns (our tree, {name there: (name of today, dtype there)} of what is in it)."""
  made = models.make(model, model.vocab_size)
  rules = names.rules(model.family, made.architecture)
  # The one parameter that files hold under several names (see aliases.py).
  table = next(rule.theirs for rule in rules if rule.ours == ('embeddings/token/embedding',))
  now = aliases.current(tensors, prefix, table)
  named = _named(folder, tensors, now)
  rules = _required(rules, named)
  # Shapes are known before any parameter is made, so a wrong folder is refused at once.
  shapes = names.shapes(rules, jax.eval_shape(made.init, rng.root_key(0)), made.architecture)
  _check(folder, named, shapes)
  params = names.to_ours(
    rules, {name: named[name].astype(np.float32) for name in shapes}, made.architecture
  )
  return params, {
    was: (name, str(tensors[was].dtype)) for was, name in now.items() if name in shapes
  }


def _named(
  folder: pathlib.Path, tensors: dict[str, np.ndarray], now: dict[str, str]
) -> dict[str, np.ndarray]:
  """Returns {name of today: array}; UserError where two tensors that are one there differ."""
  # Tensors under today's name come first: others of that name are compared with them.
  named = {name: tensors[was] for was, name in now.items() if was == name}
  for was, name in now.items():
    # Copies of a tied table are fine as long as they are copies.
    first = named.setdefault(name, tensors[was])
    if first is not tensors[was] and not np.array_equal(first, tensors[was]):
      raise config_lib.UserError(
        f'{folder}: {was} is not a copy of {name}; a head that is not tied to the token table '
        'is not supported'
      )
  return named


def _required(rules: list[names.Rule], named: Mapping[str, np.ndarray]) -> list[names.Rule]:
  """Returns the rules of what the folder must have: a head only where it has part of one."""
  of_head = [rule for rule in rules if rule.is_of_head]
  has_head = any(rule.theirs in named for rule in of_head)
  return rules if has_head else [rule for rule in rules if not rule.is_of_head]


def _check(
  folder: pathlib.Path, named: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> None:
  """Raises UserError that lists tensors that are missing, unexpected, or of another form."""
  faults = {
    'missing tensors': [name for name in shapes if name not in named],
    'unexpected tensors': [
      name for name in named if name not in shapes and not _BESIDE.fullmatch(name)
    ],
    'tensors of another shape than config.json says': [
      f'{name} {list(named[name].shape)}, not {list(shape)}'
      for name, shape in shapes.items()
      if name in named and named[name].shape != shape
    ],
    f'tensors of a type that is not {" or ".join(_DTYPES)}': [
      f'{name} {named[name].dtype}'
      for name in shapes
      if name in named and str(named[name].dtype) not in _DTYPES
    ],
  }
  problems = [
    f'{what} ({len(each)}): {", ".join(each[:_SHOWN])}' + (', ...' if len(each) > _SHOWN else '')
    for what, each in faults.items()
    if each
  ]
  if problems:
    raise config_lib.UserError(f'{folder}: ' + '; '.join(problems))
