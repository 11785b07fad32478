"""Tiny folders of the Hugging Face ecosystem, and tiny runs, made without training anything."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax import objectives
from mlm_jax.core import rng
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.huggingface import imported_tokenizers
from mlm_jax.models import text_embedding
from mlm_jax.training import checkpoint
from mlm_jax.training import workdir as workdir_lib
from tests import toys

LETTERS = 'abcdefghijklmnopqrst'
NAMES = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
PAD_SECOND = ('[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]')  # as RoBERTa's is
PIECES = len(NAMES) + 2 * len(LETTERS)
# {case: {'config': of config.json, 'shapes': {name: shape}}}, as `transformers` writes them.
PUBLISHED = json.loads((pathlib.Path(__file__).parent / 'published.json').read_text())


def write_vocabulary(folder, names=NAMES):
  """Writes vocab.txt with the special pieces and all letters."""
  pieces = [*names, *LETTERS, *(f'##{letter}' for letter in LETTERS)]
  (folder / 'vocab.txt').write_text('\n'.join(pieces) + '\n')


def names_of(config):
  """Returns the special pieces in the order that fits a config.json."""
  return PAD_SECOND if config['pad_token_id'] == 1 else NAMES


def random_tensors(shapes, seed=0):
  """Returns {name: float32 array} for {name: shape}."""
  random = np.random.default_rng(seed)
  return {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def write_published(folder, case, seed=0, **changes):
  """Writes a folder as `transformers` writes one of a case, with random numbers; returns the
  tensors.

  Args:
    folder: path; made here.
    case: of PUBLISHED.
    seed: of the numbers.
    **changes: of config.json; what is None is left out.
  """
  folder.mkdir(parents=True)
  config = {
    name: value
    for name, value in (PUBLISHED[case]['config'] | changes).items()
    if value is not None
  }
  (folder / 'config.json').write_text(json.dumps(config, indent=2))
  write_vocabulary(folder, names_of(PUBLISHED[case]['config']))
  tensors = random_tensors(PUBLISHED[case]['shapes'], seed)
  write_tensors(folder, tensors)
  return tensors


def write_tensors(folder, tensors, name='model.safetensors'):
  safetensors.numpy.save_file(tensors, folder / name, {'format': 'pt'})


def read_tensors(folder):
  return safetensors.numpy.load_file(folder / 'model.safetensors')


def assert_same(ours, theirs):
  """Compares two {name: array} by their bytes."""
  assert sorted(ours) == sorted(theirs)
  for name, array in theirs.items():
    assert (ours[name].dtype, ours[name].shape) == (array.dtype, array.shape), name
    assert ours[name].tobytes() == array.tobytes(), name


def write_run(workdir, names=NAMES, step=3, **settings):
  """Writes a run as training leaves it, whose parameters are all random; returns its config.

  Args:
    workdir: path; made here.
    names: the special pieces of its tokenizer.
    step: of the checkpoint.
    **settings: see toys.config.
  """
  tokenizer, config = _tokenizer(workdir, names), toys.config(**settings)
  objective = objectives.make(
    config, tokenizer.size, tokenizer.pad_id, tokenizer.sep_id, head_rows=1
  )
  _write_run(workdir, tokenizer, config, objective, step)
  (workdir / 'evaluations.jsonl').write_text(
    json.dumps({'step': step, 'reference_loss': 2.5}) + '\n'
  )
  return config


def write_classifier(workdir, labels, names=NAMES, step=3, task=None, **settings):
  """Writes a run that classifies texts, see write_tuned; `labels` are their names."""
  facts = {'labels': list(labels), 'multilabel': (task or {}).get('multilabel', False)}
  return write_tuned(workdir, facts, names, step, task, **settings)


def write_tuned(workdir, facts, names=NAMES, step=3, task=None, **settings):
  """Writes a run as fine-tuning leaves it, whose parameters are all random; returns its config.

  Args:
    workdir, names, step: as of write_run.
    facts: what the training examples have decided, see mlm_jax/downstream.
    task: {setting of the group `task`: value}.
    **settings: of the model, see toys.config.
  """
  tokenizer, config = _tokenizer(workdir, names), config_lib.finetuning()
  with config.unlocked():
    config.model = toys.config(**settings).model
    for name, value in (task or {}).items():
      group, last = config_lib.find(config.task, name)
      group[last] = value
    config.data.update(row_length=config.model.max_positions, max_segments=4, tokenizer='')
    config.evaluation.batch_size = 4
  _write_run(workdir, tokenizer, config, downstream.objective(config, tokenizer, facts), step)
  (workdir / 'facts.json').write_text(json.dumps(facts))
  if way := downstream.embedding(config):
    text_embedding.write(workdir, way)
  return config


def _tokenizer(workdir, names):
  """Makes the folder of a run and writes its tokenizer, which is returned."""
  workdir.mkdir(parents=True)
  write_vocabulary(workdir, names)
  model = imported_tokenizers.from_folder(workdir)
  (workdir / 'vocab.txt').unlink()
  (workdir / store.TOKENIZER).parent.mkdir()
  (workdir / store.TOKENIZER).write_bytes(model)
  return tokenizer_lib.make(model)


def _write_run(workdir, tokenizer, config, objective, step):
  """Writes random parameters, the config and the environment."""
  random = np.random.default_rng(1)
  # Biases and norms are random too: a mix-up of two that start at 0 or 1 would not show.
  draw = lambda path, x: ((path[-1].key == 'scale') + random.normal(0, 0.1, x.shape)).astype(
    np.float32
  )
  params = jax.tree_util.tree_map_with_path(draw, jax.eval_shape(objective.init, rng.root_key(0)))
  fingerprints = {'tokenizer': tokenizer.sha256, 'data_fingerprint': 40 * 'f'}
  workdir_lib.record_environment(workdir, fingerprints)
  workdir_lib.write_config(workdir, config)
  saved = checkpoint.Checkpoints(workdir / 'checkpoints', config.checkpoint)
  saved.save(step, {'params': jax.tree.map(jnp.asarray, params)})
  saved.wait()


def texts(random, number=8, words=5):
  """Returns texts of made-up words that the vocabulary spells."""
  word = lambda: ''.join(random.choice(list(LETTERS), random.integers(1, 4)))
  return [' '.join(word() for _ in range(random.integers(1, words + 1))) for _ in range(number)]


def further(run, corpus, *settings):
  """Returns the config of two steps of training that start from a run, by its own config.json.

  Args:
    run: path of the run's folder.
    corpus: path of a text.
    *settings: (dotted key, text) pairs.
  """
  return config_lib.load(
    run / 'config.json',
    [
      ('init_from', str(run)),
      ('data.source', f'text:{corpus}'),
      ('data.document', 'lines'),
      ('data.validation_fraction', '0.1'),
      ('total_steps', '2'),
      ('mesh.devices', '1'),
      ('optim.warmup_steps', '0'),
      ('batch_size', '4'),
      ('evaluation.batch_size', '4'),
      ('evaluation.rows', '8'),
      ('log.trackers', ''),
      *settings,
    ],
  )
