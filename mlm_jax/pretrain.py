"""From a config to a masked-language-model Problem, and the run of it."""

import functools
import math
import pathlib
import shutil

import jax

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import models
from mlm_jax import optim
from mlm_jax import rng
from mlm_jax import run as run_lib
from mlm_jax import sharding
from mlm_jax import step as step_lib
from mlm_jax import train
from mlm_jax import workdir as workdir_lib
from mlm_jax.data import pipeline
from mlm_jax.data import prepare
from mlm_jax.data import store
from mlm_jax.evaluate import guesses
from mlm_jax.evaluate import masked as masked_evaluation
from mlm_jax.models import neighbours
from mlm_jax.objectives import masked as masked_objective


def resolve(config):
  """Returns the config with the numbers of its model's size written out, checked."""
  config = config.copy_and_resolve_references()
  models.resolve(config.model)
  config_lib.check(config)
  if config.model.width % config.model.heads:
    raise config_lib.UserError(f'config.model.heads = {config.model.heads}: '
                               f'must divide config.model.width = {config.model.width}')
  if config.model.init == 'neighbours' and config.model.width // config.model.heads % 2:
    raise config_lib.UserError(f'config.model.heads = {config.model.heads}: config.model.init = neighbours '
                               f'needs an even head size, here {config.model.width // config.model.heads}')
  config.lock()
  return config


def prepare_data(config, workdir, log=print):
  """Returns the prepared data of a run, made where it is missing."""
  return prepare.prepare(config.data, data_folder(config, workdir), log)


def data_folder(config, workdir):
  return pathlib.Path(config.data.prepared or pathlib.Path(workdir) / 'data')


def make_policy(config, table):
  """Returns the masking policy of the config's group `masking`."""
  return masking.make(table, **config.to_dict())


def check(config, mesh):
  """Raises UserError where the mesh, the batch and the model cannot work together."""
  devices = mesh.devices.size
  parts = devices * config.micro_batches
  sharding.check_divides('batch_size', config.batch_size, parts, 'devices x micro_batches')
  sharding.check_divides('evaluation.batch_size', config.evaluation.batch_size, devices, 'devices')
  rows = config.batch_size // parts
  if config.model.head_rows and rows % config.model.head_rows:
    raise config_lib.UserError(f'config.model.head_rows = {config.model.head_rows}: must divide the {rows} '
                               'rows of each device and micro-batch')
  # Every piece of the config that decides about the parameters is here but the vocabulary.
  model = models.make(config.model, config.data.vocab_size)
  optim.decayed(config.optim, jax.eval_shape(model.init, rng.root_key(0)))


def problem(config, prepared, mesh):
  """Returns the train.Problem of pretraining on prepared data; `check` has passed.

  Raises:
    UserError: batches that the data cannot fill.
  """
  tokenizer = prepared.tokenizer
  model = models.make(config.model, tokenizer.size)
  # On the device once; a step would carry the table over anew each time.
  policy = jax.device_put(make_policy(config.masking, prepared.table), sharding.replicated(mesh))
  loader = pipeline.Loader(
      prepared, 'train', config.batch_size, config.seed, weights=config.data.weights,
      process_index=jax.process_index(), process_count=jax.process_count())
  rows = config.batch_size // (mesh.devices.size * config.micro_batches)
  return train.Problem(
      objective=masked_objective.Objective(model, tokenizer.pad_id, config.model.head_rows or rows),
      policy=policy, init=_init(config.model, model), batch=loader.batch,
      evaluators=_evaluators(config, prepared, model, mesh), ranked_by=('reference', 'loss'),
      facts={'data_fingerprint': prepared.fingerprint, 'tokenizer': tokenizer.sha256})


def _init(config, model):
  """Returns init(key) -> params, as config.init says."""
  if config.init == 'normal':
    return model.init
  return lambda key: neighbours.start(model.init(key), model.architecture)


def _evaluators(config, prepared, model, mesh):
  """Returns {'reference': ..., 'own': ...} over the held-out rows."""
  loader = pipeline.EvaluationLoader(prepared, config.evaluation.batch_size, config.evaluation.rows)
  objective = masked_objective.Objective(
      model, prepared.tokenizer.pad_id, config.evaluation.batch_size // mesh.devices.size)
  eval_step = jax.jit(step_lib.make_eval_step(objective))
  put = lambda batch: sharding.put(batch, mesh)

  def score(policy, params, progress):
    return masked_evaluation.evaluate(eval_step, params, policy, loader, put, progress)

  policies = {'reference': masked_evaluation.reference_policy(prepared.table),
              'own': make_policy(config.masking, prepared.table)}
  return {name: functools.partial(score, jax.device_put(policy, sharding.replicated(mesh)))
          for name, policy in policies.items()}


def run(config, workdir, log=print):
  """Pretrains in workdir, from wherever it stands; returns whether it is complete."""
  config = resolve(config)
  mesh = sharding.make_mesh(config.mesh)
  check(config, mesh)
  with workdir_lib.locked(workdir) as workdir:
    workdir_lib.check_same(workdir, config)
    if train.is_finished(config, workdir, log):
      return True
    prepared = prepare_data(config, workdir, log)
    this = problem(config, prepared, mesh)
    # Only now, when all that can be wrong with the input has been looked at.
    workdir_lib.record_environment(workdir, this.facts)
    workdir_lib.write_config(workdir, config)
    shutil.copytree(prepared.directory / 'tokenizer', workdir / 'tokenizer', dirs_exist_ok=True)
    return train.run(this, config, workdir, mesh, log)


def evaluate(workdir, step=None, data=None, with_guesses=False):
  """Returns {'step': ..., 'reference_loss': ..., 'own_loss': ..., ...} of a checkpoint.

  It runs on as many of the devices as divide the evaluation batch, whatever mesh
  the run was trained on.

  Args:
    workdir: of the run.
    step: of the checkpoint; None for the newest intact one.
    data: folder of prepared data; None for the run's own.
    with_guesses: whether to add what counting alone scores (see evaluate/guesses.py).

  Raises:
    UserError: no run, checkpoint or data there; data made with another tokenizer or
      with rows beyond the model's positions; a loss that is not finite.
  """
  opened = run_lib.open_run(workdir, step)
  config = opened.config
  prepared = store.open_prepared(data or data_folder(config, workdir))
  if prepared.tokenizer.sha256 != opened.tokenizer.sha256:
    raise config_lib.UserError(f'{prepared.directory} was prepared with another tokenizer than {workdir}')
  if prepared.row_length > config.model.max_positions:
    raise config_lib.UserError(f'{prepared.directory} has rows of {prepared.row_length}, beyond the '
                               f'{config.model.max_positions} positions of the model')
  mesh = sharding.largest_mesh(config.evaluation.batch_size)
  params = jax.device_put(opened.params, sharding.replicated(mesh))
  scores = {'step': opened.step}
  for name, evaluator in _evaluators(config, prepared, opened.model, mesh).items():
    values = evaluator(params, opened.step / config.total_steps)
    if not math.isfinite(values.get('loss', math.nan)):
      raise config_lib.UserError(f'the {name} loss of step {opened.step} is not a number')
    scores |= {f'{name}_{metric}': value for metric, value in values.items()}
  if with_guesses:
    loader = pipeline.EvaluationLoader(prepared, config.evaluation.batch_size, config.evaluation.rows)
    scores |= {f'{name}_{metric}': value for name, guess in guesses.score(prepared, loader).items()
               for metric, value in guess.items()}
  return scores
