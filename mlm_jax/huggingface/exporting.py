"""A run becomes a folder of the Hugging Face ecosystem."""

from collections.abc import Callable
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np
import safetensors.numpy

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax import models
from mlm_jax import objectives
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.huggingface import card
from mlm_jax.huggingface import exported_tokenizers
from mlm_jax.huggingface import folders
from mlm_jax.huggingface import heads
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from mlm_jax.huggingface import origin
from mlm_jax.huggingface import poolers
from mlm_jax.huggingface import sentence_transformers
from mlm_jax.huggingface import settings
from mlm_jax.models import text_embedding
from mlm_jax.objectives import restored
from mlm_jax.training import saved

# {part: the end of its class}; one that is called as a task, see heads, is all of a fine-tuned run.
_CLASSES = {
  '': 'ForMaskedLM',
  'generator': 'ForMaskedLM',
  'discriminator': 'ForPreTraining',
  'encoder': 'Model',
}


def run(
  workdir: str | os.PathLike,
  folder: str | os.PathLike,
  step: int | None = None,
  part: str = '',
  sentences: bool = False,
  log: Callable[[str], None] = print,
  licence: str = '',
) -> None:
  """Writes weights, tokenizer and a model card as the Auto classes of `transformers` load them.

  A run that was imported and not trained since is written as it came, byte for byte.

  Args:
    workdir: of the run.
    folder: made here; it must not exist or be empty.
    step: of the checkpoint; None for the newest that is whole.
    part: '' for the encoder with its masked head (AutoModelForMaskedLM), or with the head of the
      task that a run was fine-tuned for (such as AutoModelForSequenceClassification); 'encoder' for
      the encoder alone (AutoModel); 'generator' (AutoModelForMaskedLM) or 'discriminator'
      (AutoModelForPreTraining) of a run with objective.name = 'rtd'.
    sentences: whether to write what sentence-transformers loads: the encoder, followed by what
      the run makes a vector of a text by, which is the mean over all tokens unless it was imported
      with another way. A run that was is always written so.
    log: takes lines of text.
    licence: of the weights, for the card; if not given, that of the card of the folder that was
      imported, or none.

  Raises:
    UserError: no run there, or a model that the classes there cannot express; nothing is
      written then.
  """
  workdir = pathlib.Path(workdir)
  # All is written into a folder beside, so that a refusal leaves nothing.
  with folders.made(folder, '--to') as partial:
    trained = saved.open_model(workdir, step)
    tokenizer, objective, facts = _restored(trained, log)
    part, sentences = _asked(trained, part, sentences)
    _check(trained.config, part, sentences)
    model, params = _part(trained, tokenizer, objective, part)
    if part in heads.NAMES:
      params = heads.params(part, params, facts)
    tensors = _tensors(model, params, part, tokenizer.pad_id)
    settings_there = _config(model, part, tokenizer)
    if part in heads.NAMES:
      of = kinds.of_family(model.family)[1]
      settings_there |= heads.load(part).to_theirs(trained.config, facts, of)
    config = (json.dumps(settings_there, indent=2) + '\n').encode()
    # As it came: its dtypes, its old names, and what had no place in a run.
    if part in ('', *heads.NAMES) and origin.is_in(workdir):
      tensors, config = origin.restored(workdir, tensors)
    pooler, said = poolers.of_encoder(trained, model, part)
    tensors |= pooler
    if facts.get('has_unanswerable'):
      said['threshold of no answer'] = f'{facts["threshold"]:.6g}'
    # Left out but not silently: on the console and on the card.
    if unplaced := [name for name in objectives.AUXILIARY if name in trained.params]:
      said['left out'] = (
        f'{", ".join(unplaced)}: the class has no place for heads of auxiliary losses'
      )
      log(
        f'left out, since {_class(model.family, part)} has no place for heads of auxiliary losses: '
        f'{", ".join(unplaced)}'
      )
    safetensors.numpy.save_file(tensors, partial / folders.TENSORS, {'format': 'pt'})
    (partial / folders.CONFIG).write_bytes(config)
    _write_tokenizer(partial, trained, tokenizer, model, part)
    if sentences:
      _write_sentences(partial, trained, model.width)
    # A folder that was imported may name another class than ours would, such as XLM-RoBERTa.
    theirs = config_lib.parse_json(config)
    name = _said(theirs) or _class(model.family, part)
    text = card.text(trained, tokenizer, name, theirs['model_type'], sentences, said, licence)
    (partial / 'README.md').write_text(text, encoding='utf-8')
  log(f'{folder}: {name}, {sum(x.size for x in tensors.values()):,} parameters')


def _restored(
  trained: saved.SavedModel, log: Callable[[str], None]
) -> tuple[Any, Any, dict[str, Any]]:
  """Returns (tokenizer, objective, facts of a fine-tuned run)."""
  if 'task' in trained.config:
    return downstream.restore(trained, log)
  return *restored.restore(trained), {}


def _asked(trained: saved.SavedModel, part: str, sentences: bool) -> tuple[str, bool]:
  """Returns (part, whether it is for sentence-transformers), with what is not said filled in."""
  own = (trained.workdir / text_embedding.FOLDER).is_dir()
  # The library has no use for a head, but what came with one goes back with it.
  if sentences and not (own and origin.is_in(trained.workdir)):
    part = part or 'encoder'
  if 'task' in trained.config and not part:
    # What makes vectors of texts has no head: the whole of it goes to sentence-transformers.
    part = 'encoder' if downstream.embedding(trained.config) else trained.config.task.name
    if part != 'encoder':
      heads.load(part)  # refuses what has no class
  return part, sentences or own and part in ('', 'encoder')


def _write_tokenizer(
  folder: pathlib.Path, trained: saved.SavedModel, tokenizer: Any, model: Any, part: str
) -> None:
  """Writes what AutoTokenizer reads, which puts texts together as the run does."""
  data = config_lib.final_stage(trained.config).data
  # What is longer a fine-tuned run cuts.
  most = min(model.max_positions, data.row_length) if part in heads.NAMES else model.max_positions
  # Files that came from there stay as they are.
  seps = None if origin.is_in(trained.workdir) else models.pair_seps(model)
  exported_tokenizers.write_folder(tokenizer, data, folder, most, model.types, seps)


def _write_sentences(folder: pathlib.Path, trained: saved.SavedModel, width: int) -> None:
  """Writes by what sentence-transformers embeds as the run does."""
  embedding = text_embedding.read(trained.workdir) or text_embedding.TextEmbedding()
  # No longer than the rows that the model was trained on.
  most = config_lib.final_stage(trained.config).data.row_length
  sentence_transformers.write(folder, embedding, width, most)


def _check(config: Any, part: str, sentences: bool) -> None:
  """Raises UserError where the run has no such part, or no class there can hold it."""
  family = config.model.family
  is_rtd = 'task' not in config and config.objective.name == 'rtd'
  if sentences and part not in ('', 'encoder'):
    raise config_lib.UserError(
      f'--sentence-transformers writes the encoder; leave --part={part} out'
    )
  if is_rtd and not part:
    raise config_lib.UserError(
      'the run has a generator and a discriminator: say --part=generator, --part=discriminator or '
      '--part=encoder'
    )
  if not is_rtd and part in ('generator', 'discriminator'):
    raise config_lib.UserError(f'--part={part} is for runs with objective.name = rtd; leave it out')
  if part == 'discriminator' and family != 'electra':
    raise config_lib.UserError(
      f'there is no class with a discriminator for {family}; say --part=encoder'
    )
  if (
    part not in ('encoder', *heads.NAMES)
    and family.startswith('deberta')
    and config.model.deberta.decoder == 'enhanced'
  ):
    raise config_lib.UserError(
      'config.model.deberta.decoder = enhanced: the classes there have no such decoder and '
      'would fill masks with something else; say --part=encoder'
    )
  if part in ('', 'generator') and not settings.has_head(config.model, kinds.of_family(family)[1]):
    raise config_lib.UserError(
      f'config.model.head_activation = {config.model.head_activation}: {_class(family, part)} has '
      'no setting for it; say --part=encoder'
    )


def _part(
  trained: saved.SavedModel, tokenizer: Any, objective: objectives.Objective, part: str
) -> tuple[Any, dict[str, Any]]:
  """Returns (group `model`, parameters) of a part of a run."""
  config = trained.config.copy_and_resolve_references()
  if part == 'generator':
    # The generator is a model of its own, with the tables it may share already put in.
    model, params = objectives.generator_config(config), objective.mlm_params(trained.params)
  else:
    model = config.model
    # The whole of a fine-tuned run has its head in it.
    params = trained.params if part in heads.NAMES else objective.encoder_params(trained.params)
  with model.unlocked():
    model.vocab_size = model.vocab_size or tokenizer.size
  return model, params


def _tensors(model: Any, params: dict[str, Any], part: str, pad_id: int) -> dict[str, np.ndarray]:
  """Returns {name there: array} of a part of a run."""
  make = models.make_discriminator if part == 'discriminator' else models.make
  made = make(model, model.vocab_size)
  of = kinds.of_family(model.family)[1]
  rules = of.rules(made.architecture)
  if part in ('encoder', 'discriminator', *heads.NAMES):
    rules = [rule for rule in rules if not rule.is_of_head]
  if part == 'discriminator':
    rules += names.discriminator()
  if part in heads.NAMES:
    rules += heads.load(part).rules(of)
  # Every parameter must have a place there; only what the encoder alone has no use for may be lost:
  # its head, and the positions that the enhanced mask decoder adds before that.
  held = {path for rule in rules for path in rule.ours}
  is_headless = part in ('encoder', *heads.NAMES)
  lost = [
    path
    for path in trees.paths(jax.eval_shape(made.init, rng.root_key(0)))
    if path not in held and not (is_headless and path.startswith(('head/', 'position/')))
  ]
  if lost:
    raise config_lib.UserError(
      f'{_class(model.family, part)} has no place for {", ".join(lost)} of the run'
      + ('' if part == 'encoder' else '; say --part=encoder')
    )
  tensors = names.to_theirs(rules, params, made.architecture)
  # One type of zeros adds nothing to the embeddings, as if there were none.
  if of.always_has_types and not model.types:
    name = f'{of.prefix}.embeddings.token_type_embeddings.weight'
    tensors[name] = np.zeros((1, made.architecture.embedding_width), np.float32)
  return {
    name: _moved(array, model, pad_id) if name.endswith('.position_embeddings.weight') else array
    for name, array in tensors.items()
  }


def _moved(table: np.ndarray, model: Any, pad_id: int) -> np.ndarray:
  """Returns a position table that begins where the class there begins to use it."""
  # RoBERTa's offset follows the padding id there, and ours is a setting.
  of, offset = kinds.of_family(model.family)[1], model.position_offset
  before = of.first_position(settings.padding(model, of, pad_id))
  if before == offset:
    return table
  # The row before the first is that of the token that takes no position.
  kept = min(before, offset, 1)
  unused = np.zeros((before - kept, table.shape[1]), table.dtype)
  return np.concatenate([unused, table[offset - kept :]])


def _class(family: str, part: str) -> str:
  """Returns the name of the class in `transformers`."""
  end = heads.load(part).CLASS if part in heads.NAMES else _CLASSES[part]
  return kinds.of_family(family)[1].masked.replace('ForMaskedLM', end)


def _said(theirs: dict[str, Any]) -> str:
  """Returns the class that a config.json names, '' where it names none."""
  match theirs.get('architectures'):
    case [str() as name, *_]:
      return config_lib.one_line(name)
  return ''


def _config(model: Any, part: str, tokenizer: Any) -> dict[str, Any]:
  """Returns the config.json of a part of a run."""
  cls, sep = tokenizer.cls_id, tokenizer.sep_id
  return settings.to_theirs(model, tokenizer.pad_id) | {
    'architectures': [_class(model.family, part)],
    'bos_token_id': cls,
    'eos_token_id': sep,
    'cls_token_id': cls,
    'sep_token_id': sep,
  }
