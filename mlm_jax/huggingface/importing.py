"""A folder of the Hugging Face ecosystem becomes a run."""

from collections.abc import Callable
import dataclasses
import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax import models
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.examples import store as example_store
from mlm_jax.huggingface import fitting
from mlm_jax.huggingface import folders
from mlm_jax.huggingface import heads
from mlm_jax.huggingface import imported_tokenizers
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import origin
from mlm_jax.huggingface import sentence_transformers
from mlm_jax.huggingface import settings
from mlm_jax.huggingface import tuned as tuned_lib
from mlm_jax.huggingface import weights
from mlm_jax.models import text_embedding
from mlm_jax.objectives import finetuning
from mlm_jax.training import checkpoint
from mlm_jax.training import workdir as workdir_lib


@dataclasses.dataclass(frozen=True)
class Imported:
  """What was read from a folder.

  Attributes:
    config: of a run with this model.
    params: our tree of parameters; without `head` where the folder has none, with that of a task
      where it was fine-tuned.
    tokenizer: data.tokenizers.base.Tokenizer.
    placed, rest: see origin.write.
    left_out: names of those in `rest` that are of no use here, such as heads of other tasks.
    embedding: how sentence-transformers makes a vector of a text with it; None where the folder
      does not say so.
    tuned: of a fine-tuned model; None of others.
  """

  config: Any
  params: dict[str, Any]
  tokenizer: Any
  placed: dict[str, tuple[str, str]]
  rest: dict[str, np.ndarray]
  left_out: list[str]
  embedding: text_embedding.TextEmbedding | None
  tuned: tuned_lib.Tuned | None


def run(
  place: str | os.PathLike,
  workdir: str | os.PathLike,
  log: Callable[[str], None] = print,
  part: str = '',
  pairs: bool = False,
  unanswerable: bool = False,
) -> None:
  """Makes a run, at step 0, from a folder's weights and tokenizer.

  Of a class for a task, see heads, it is a fine-tuned run, which predicts.

  Args:
    place: see folders.find.
    workdir: of the run; made here, it must not exist or be empty.
    log: takes lines of text.
    part: '' for all that has a place in a run; 'encoder' for a fine-tuned model without its head.
    pairs: whether a classifier, or a regression, is of pairs of texts.
    unanswerable: whether a model that answers questions may find no answer.

  Raises:
    UserError: see `read`; something is in workdir already.
  """
  workdir = pathlib.Path(workdir)
  with folders.made(workdir, '--workdir') as partial:  # before the work: it may refuse
    place = folders.find(place, log)
    folder, found = sentence_transformers.transformer(place), read(place, part)
    _say(found, folder, pairs, unanswerable)
    config, params = found.config, found.params
    if found.left_out:
      user = 'masked-language model' if found.tuned is None else 'model of its class'
      log(
        f'left out, since no {user} uses them ({len(found.left_out)}): '
        f'{weights.listed(found.left_out)}'
      )
    if found.tuned is not None:
      log(f'{folder} is fine-tuned: {tuned_lib.shown(found.tuned)}')
    elif 'head' not in params:
      log(
        f'{folder} has no masked-language-model head: a new one is initialised at random, so '
        'predictions at masks mean nothing before it is trained'
      )
      params = params | {'head': _new_head(config)}
    _write(found, config_lib.read_bytes(folder / folders.CONFIG), params, partial)
    origin.keep_card(partial, place)
  log(
    f'{workdir}: {config.model.family}, {trees.count(params):,} parameters, '
    f'{found.tokenizer.size:,} pieces'
  )


def _new_head(config: Any) -> Any:
  model = models.make(config.model, config.model.vocab_size)
  return jax.jit(lambda key: model.init(key)['head'])(rng.named(rng.root_key(config.seed), 'init'))


def _say(found: Imported, folder: pathlib.Path, pairs: bool, unanswerable: bool) -> None:
  """Puts in what the files do not tell, see `run`; UserError where it says nothing of them."""
  name = found.tuned.task['name'] if found.tuned else ''
  for flag, is_said, tasks in (
    ('--pairs', pairs, ('classification', 'similarity')),
    ('--unanswerable', unanswerable, ('question_answering',)),
  ):
    if is_said and name not in tasks:
      raise config_lib.UserError(
        f'{flag} is for {" or ".join(tasks).replace("_", " ")}, and {folder} is not for that; '
        'leave it out'
      )
  if pairs:
    found.config.task.second_text = tuned_lib.SECOND_TEXT
  if unanswerable and found.tuned:
    found.tuned.facts['has_unanswerable'] = True


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
  if found.tuned is not None:
    text = json.dumps(found.tuned.facts, ensure_ascii=False, indent=1) + '\n'
    (workdir / example_store.FACTS).write_text(text, encoding='utf-8')
  saved = checkpoint.Checkpoints(workdir / 'checkpoints', found.config.checkpoint)
  # Step 0: nothing has been trained here yet.
  saved.save(0, {'params': jax.tree.map(jnp.asarray, params)})
  saved.wait()


def read(folder: pathlib.Path, part: str = '') -> Imported:
  """Returns the Imported of a folder; `part` is that of `run`.

  Raises:
    UserError: a model or variant that is not supported; tensors that are missing, unexpected
      or of another shape; a tokenizer that does not fit; see also `folders` and `weights`.
  """
  place, folder = folder, sentence_transformers.transformer(folder)
  folders.check_files(folder)
  theirs = folders.read_config(folder)
  of = kinds.of_config(theirs)
  tuned = None if part == 'encoder' else heads.to_ours(theirs, of)
  config = _config(*settings.to_ours(theirs), tuned)
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
  head = _head(config, of, tuned.facts) if tuned else None
  fitted = fitting.fit(folder, config.model, of, headers, head)
  # Nothing large was allocated so far; all that is read now has its place, or goes back as it came.
  tensors = weights.read(headers)
  params = fitting.params(folder, fitted, tensors)
  placed = {
    was: (name, str(tensors[was].dtype))
    for was, name in fitted.now.items()
    if name in fitted.shapes
  }
  rest = {was: array for was, array in tensors.items() if was not in placed}
  return Imported(config, params, tokenizer, placed, rest, fitted.left_out, embedding, tuned)


def _head(config: Any, of: kinds.Kind, facts: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
  """Returns (Rules, shapes of the parameters) of the head of a task."""
  architecture = models.make(config.model, config.model.vocab_size).architecture
  name = config.task.name
  head = downstream.load(name).head(config, architecture, facts)
  return heads.load(name).rules(of), {finetuning.HEAD: jax.eval_shape(head.init, rng.root_key(0))}


def _config(family: str, ours: dict[str, Any], tuned: tuned_lib.Tuned | None = None) -> Any:
  """Returns the checked config of a run with the settings of a config.json."""
  config = config_lib.finetuning() if tuned else config_lib.base()
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
    if tuned:
      config.data.row_length = min(config.data.row_length, tuned.row_length)
      for name, value in tuned.task.items():
        group, last = config_lib.find(config.task, name)
        group[last] = value
    # For data to come: the tokenizer that lies in the run, wherever that is (see config.load). It
    # does itself to a text what the model has seen done to texts.
    config.data.update(tokenizer=store.TOKENIZER, unicode='none')
    config.data.update(control_characters='keep', boundary_mark='keep', white_space='keep')
  config_lib.check(config)
  return config
