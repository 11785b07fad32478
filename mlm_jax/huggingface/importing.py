"""A folder of the Hugging Face ecosystem becomes a run."""

from collections.abc import Callable
import dataclasses
import os
import pathlib
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
from mlm_jax.huggingface import fitting
from mlm_jax.huggingface import folders
from mlm_jax.huggingface import imported_tokenizers
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import origin
from mlm_jax.huggingface import sentence_transformers
from mlm_jax.huggingface import settings
from mlm_jax.huggingface import weights
from mlm_jax.models import text_embedding
from mlm_jax.training import checkpoint
from mlm_jax.training import workdir as workdir_lib


@dataclasses.dataclass(frozen=True)
class Imported:
  """What was read from a folder.

  Attributes:
    config: of a run with this model.
    params: our tree of parameters; without `head` where the folder has none.
    tokenizer: data.tokenizers.base.Tokenizer.
    placed, rest: see origin.write.
    left_out: names of those in `rest` that are of no use here, such as heads of other tasks.
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
        f'left out, since no masked-language model uses them ({len(found.left_out)}): '
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
  tokenizer = tokenizer_lib.make(imported_tokenizers.from_folder(folder), str(folder))
  # The other way round is common: tables are padded for the hardware.
  if tokenizer.size > config.model.vocab_size:
    raise config_lib.UserError(
      f'{folder}: the tokenizer has {tokenizer.size} pieces, but the token table only '
      f'{config.model.vocab_size} rows; give the tokenizer of this model'
    )
  # Padding of the tokenizer is outside of every document, so it needs no rule.
  if config.model.uncounted_id == tokenizer.pad_id:
    config.model.uncounted_id = -1
  fitted = fitting.fit(folder, config.model, kinds.of_config(theirs), headers)
  # Nothing large was allocated so far; all that is read now has its place, or goes back as it came.
  tensors = weights.read(headers)
  params = fitting.params(folder, fitted, tensors)
  placed = {
    was: (name, str(tensors[was].dtype))
    for was, name in fitted.now.items()
    if name in fitted.shapes
  }
  rest = {was: array for was, array in tensors.items() if was not in placed}
  return Imported(config, params, tokenizer, placed, rest, fitted.left_out, embedding)


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
    config.data.update(control_characters='keep', boundary_mark='keep', white_space='keep')
  config_lib.check(config)
  return config
