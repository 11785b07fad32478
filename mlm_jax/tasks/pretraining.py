"""From a config to a masked-language-model Problem, and the run of it."""

import contextlib
import dataclasses
import functools
import math
import pathlib
import shutil

import jax

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import models
from mlm_jax import objectives
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import prepare
from mlm_jax.data import store
from mlm_jax.evaluation import baselines
from mlm_jax.evaluation import bayes_optimal
from mlm_jax.evaluation import heldout as masked_evaluation
from mlm_jax.evaluation import slices
from mlm_jax.inference import predictor as run_lib
from mlm_jax.models import flops
from mlm_jax.models import neighbour_init
from mlm_jax.training import distributed
from mlm_jax.training import loop
from mlm_jax.training import optim
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib
from mlm_jax.training import workdir as workdir_lib


def resolve(config):
  """Returns the config with the numbers of its model's size written out, checked."""
  config = config.copy_and_resolve_references()
  models.resolve(config.model)
  config_lib.check(config)
  if config.model.width % config.model.heads:
    raise config_lib.UserError(
      f'config.model.heads = {config.model.heads}: '
      f'must divide config.model.width = {config.model.width}'
    )
  if config.model.init == 'neighbours' and config.model.width // config.model.heads % 2:
    raise config_lib.UserError(
      f'config.model.heads = {config.model.heads}: config.model.init = neighbours '
      f'needs an even head size, here {config.model.width // config.model.heads}'
    )
  if config.model.init == 'neighbours' and (
    config.model.family not in ('bert', 'roberta', 'electra')
    or config.model.embedding_width not in (0, config.model.width)
    or config.objective.name == 'rtd'
    and config.objective.generator_width != 1
  ):
    raise config_lib.UserError(
      'config.model.init = neighbours is for the families bert, roberta and electra, with '
      'tables as wide as the layers, those of a generator too'
    )
  config.lock()
  return config


def prepare_data(config, workdir, log=print):
  """Returns the prepared data of each stage of a run, made where it is missing.

  All stages share the tokenizer of the first.
  """
  made, prepared = {}, []
  for _, stage in config_lib.stages(config):
    folder = data_folder(config, workdir, stage)
    what = folder, stage.data.row_length, stage.data.max_segments
    if what not in made:
      model = prepared[0].tokenizer.model if prepared else None
      made[what] = prepare.prepare(stage.data, folder, log, model)
    prepared.append(made[what])
  return prepared


def data_folder(config, workdir, stage):
  """Returns the folder of a stage's prepared data: rows of another length stand in one of their
  own.
  """
  folder = pathlib.Path(stage.data.prepared or pathlib.Path(workdir) / 'data')
  ours, first = ((data.row_length, data.max_segments) for data in (stage.data, config.data))
  if ours == first or stage.data.prepared != config.data.prepared:
    return folder
  segments = f'x{ours[1]}' if ours[1] != first[1] else ''
  return folder.with_name(f'{folder.name}_{ours[0]}{segments}')


def make_policy(config, prepared):
  """Returns the masking policy of the config's group `masking` for the rows of prepared data."""
  return masking.make(prepared.table, length=prepared.row_length, **config.to_dict())


def check(config, mesh):
  """Raises UserError where the mesh, the batch and the model cannot work together."""
  devices = sharding.row_parts(mesh)
  for number, (_, stage) in enumerate(config_lib.stages(config)):
    try:
      _check_batch(stage, devices)
    except config_lib.UserError as error:
      raise config_lib.UserError(
        f'config.stages[{number}]: {error}' if config.stages else str(error)
      ) from None
  sharding.check_divides(
    'evaluation.batch_size', config.evaluation.batch_size, devices, 'data x fsdp devices'
  )
  sharding.check_model(mesh, config.model)
  if config.objective.name == 'rtd':
    sharding.check_model(mesh, objectives.generator_config(config))
  # Every piece of the config that decides about the parameters is here but the vocabulary.
  objective = objectives.make(config, config.data.vocab_size, pad_id=0, sep_id=0, head_rows=1)
  optim.decayed(config.optim, jax.eval_shape(objective.init, rng.root_key(0)))


def _check_batch(config, devices):
  """Raises UserError where a stage's batch does not divide as it must."""
  parts = devices * config.grad_accumulation_steps
  sharding.check_divides(
    'batch_size', config.batch_size, parts, 'data x fsdp devices x grad_accumulation_steps'
  )
  rows = config.batch_size // parts
  if config.model.head_rows and rows % config.model.head_rows:
    raise config_lib.UserError(
      f'config.model.head_rows = {config.model.head_rows}: must divide the {rows} '
      'rows of each device and micro-batch'
    )


def problem(config, prepared, mesh):
  """Returns the train.Problem of pretraining on prepared data; `check` has passed.

  Held-out rows and the own policy are those of the last stage, also before it: so a
  run's evaluations can be compared with each other.

  Args:
    config: resolved.
    prepared: a store.Prepared for each stage.
    mesh: see `sharding`.

  Raises:
    UserError: batches that the data cannot fill.
  """
  stages = config_lib.stages(config)
  fingerprints = {'tokenizer': prepared[0].tokenizer.sha256}
  for each in prepared:
    fingerprints.setdefault('data_fingerprint', each.fingerprint)
    if each.fingerprint != fingerprints['data_fingerprint']:
      fingerprints[
        f'data_fingerprint_{each.row_length}x{each.manifest["settings"]["max_segments"]}'
      ] = each.fingerprint
  made = tuple(
    _stage(first, stage, prepared[number], mesh, _rows_before(stages, prepared, number))
    for number, (first, stage) in enumerate(stages)
  )
  return loop.Problem(
    stages=made,
    init=_init(config.model, made[0].objective),
    evaluators=_evaluators(stages[-1][1], prepared[-1], mesh),
    slices=functools.partial(_slices, stages[-1][1], prepared[-1], mesh),
    ranked_by=('reference', 'loss'),
    cost=functools.partial(_cost, made[0].objective),
    fingerprints=fingerprints,
    adapted=dict(make_policy(config.masking, prepared[0]).learned),
    start=_start(config, made[0].objective, prepared[0].tokenizer) if config.init_from else None,
  )


def _rows_before(stages, prepared, number):
  """Returns how many rows of a stage's data the stages before it have drawn."""
  ends = [first for first, _ in stages[1:]]
  return sum(
    (end - first) * stage.batch_size
    for (first, stage), end, data in zip(stages[:number], ends, prepared)
    if data.fingerprint == prepared[number].fingerprint
  )


def _stage(first, config, prepared, mesh, begin):
  """Returns the train.Stage of one stage's config; its data goes on behind `begin` rows."""
  # On the device once; a step would carry the table over anew each time.
  policy = jax.device_put(make_policy(config.masking, prepared), sharding.replicated(mesh))
  loader = loader_lib.Loader(
    prepared,
    'train',
    config.batch_size,
    config.seed,
    weights=config.data.weights,
    sampling_alpha=config.data.sampling_alpha,
    begin=begin,
    local=sharding.local_rows(mesh, config.batch_size),
  )
  rows = config.batch_size // (sharding.row_parts(mesh) * config.grad_accumulation_steps)
  tokenizer = prepared.tokenizer
  objective = objectives.make(
    config,
    tokenizer.size,
    tokenizer.pad_id,
    tokenizer.sep_id,
    config.model.head_rows or rows,
    policy.counted,
  )
  return loop.Stage(
    first,
    config,
    objective,
    policy,
    lambda step: loader.batch(step - first),
    lambda step: loader.examples(step - first),
  )


def _cost(objective, sums):
  """Returns the FLOPs of the training steps whose metrics were summed."""
  padding, size = sums['padding']
  return flops.training(
    objective, float(size - padding), float(sums['attended'][0]), float(sums['loss'][1])
  )


def _init(config, objective):
  """Returns init(key) -> params, as config.init says."""
  if config.init == 'normal':
    return objective.init

  def init(key):
    params = neighbour_init.start(objective.init(key), objective.encoder.architecture)
    if 'generator' in params:
      params['generator'] = neighbour_init.start(
        params['generator'], objective.mlm.model.architecture
      )
    return params

  return init


def _start(config, objective, tokenizer):
  """Returns the parameters of the run in config.init_from.

  Raises:
    UserError: it has another tokenizer, or another model.
  """
  opened = run_lib.open_run(config.init_from)
  if opened.tokenizer.sha256 != tokenizer.sha256:
    raise config_lib.UserError(
      f'config.init_from = {config.init_from} has another tokenizer than the data; prepare them '
      'with '
      f'config.data.tokenizer={pathlib.Path(config.init_from) / store.TOKENIZER}'
    )
  shapes = lambda tree: {path: leaf.shape for path, leaf in trees.paths(tree).items()}
  ours, theirs = shapes(jax.eval_shape(objective.init, rng.root_key(0))), shapes(opened.trained)
  differing = [path for path in {**ours, **theirs} if ours.get(path) != theirs.get(path)]
  if differing:
    path = differing[0]
    raise config_lib.UserError(
      f'config.init_from = {config.init_from} has another model: {path} is '
      f'{theirs.get(path, "missing")} there, '
      f'{ours.get(path, "missing")} here; take its settings with '
      f'--config={config.init_from}/config.json'
    )
  return opened.trained


def _evaluators(config, prepared, mesh):
  """Returns {'reference': ..., 'policy': ...} over the held-out rows, and each source's loss where
  there are several.
  """
  objective, policies, loaders, put = _scoring(config, prepared, mesh)
  eval_step = jax.jit(step_lib.make_eval_step(objective))
  return {
    name: masked_evaluation.Evaluator(eval_step, policy, loaders, put)
    for name, policy in policies.items()
  }


def _slices(config, prepared, mesh, params, adapted):
  """Returns what slices.json holds of a finished run."""
  objective, policies, loaders, put = _scoring(config, prepared, mesh)
  if adapted:
    policies['policy'] = policies['policy'].with_learned(adapted)
  return slices.score(objective.mlm, objective.mlm_params(params), policies, prepared, loaders, put)


def _scoring(config, prepared, mesh):
  """Returns (objective, {name: policy}, {source: loader}, put): what scores of the held-out rows
  are made with.
  """
  size = config.evaluation.batch_size
  several = len(prepared.sources) > 1
  loaders = {
    name: loader_lib.EvaluationLoader(
      prepared,
      size,
      config.evaluation.rows,
      number if several else None,
      sharding.local_rows(mesh, size),
    )
    for number, name in enumerate(prepared.sources)
  }
  tokenizer = prepared.tokenizer
  objective = objectives.make(
    config,
    tokenizer.size,
    tokenizer.pad_id,
    tokenizer.sep_id,
    size // sharding.row_parts(mesh),
    predict_all=False,
  )
  put = lambda batch: sharding.put(batch, mesh, size)
  policies = {
    'reference': masked_evaluation.reference_policy(prepared.table),
    'policy': make_policy(config.masking, prepared),
  }
  whole = sharding.replicated(mesh)
  return (
    objective,
    {name: jax.device_put(policy, whole) for name, policy in policies.items()},
    loaders,
    put,
  )


def run(config, workdir, log=print, profile=False):
  """Pretrains in workdir, from wherever it stands; returns whether it is complete.

  Of several processes the first one prepares, writes and speaks; the others wait for
  it and read what it wrote.
  """
  config = resolve(config)
  workdir = pathlib.Path(workdir)
  mesh = sharding.make_mesh(config.mesh)
  check(config, mesh)
  if not distributed.is_first():
    log = lambda line: None
  with distributed.together(), contextlib.ExitStack() as stack:
    distributed.check_equal(config_lib.to_json(config), 'config')
    distributed.on_first(lambda: stack.enter_context(workdir_lib.locked(workdir)))
    distributed.on_first(lambda: workdir_lib.check_same(workdir, config))
    if distributed.from_first(distributed.is_first() and loop.is_finished(config, workdir, log)):
      return True
    make = lambda: prepare_data(config, workdir, log)
    prepared = distributed.on_first(make) or make()  # the others open what the first has made
    for each in prepared:
      store.needs(each, config.masking)
    this = problem(config, prepared, mesh)
    distributed.check_equal(this.fingerprints, 'data')
    # Only now, when all that can be wrong with the input has been looked at.
    distributed.on_first(lambda: found(workdir, config, this.fingerprints, prepared[0]))
    return loop.run(this, config, workdir, mesh, log, profile)


def found(workdir, config, fingerprints, prepared):
  """Writes what a run's folder holds before its first step."""
  workdir_lib.record_environment(workdir, fingerprints)
  workdir_lib.write_config(workdir, config)
  shutil.copytree(prepared.directory / 'tokenizer', workdir / 'tokenizer', dirs_exist_ok=True)
  shutil.copy(prepared.directory / store.STATISTICS, workdir)  # policies may hang on the counts


def evaluate(workdir, step=None, data=None, with_baselines=False, other=None):
  """Returns {'step': ..., 'reference_loss': ..., 'policy_loss': ..., ...} of a checkpoint.

  It runs on as many of the devices as divide the evaluation batch, whatever mesh
  the run was trained on.

  Args:
    workdir: of the run.
    step: of the checkpoint; None for the newest intact one.
    data: folder of prepared data; None for the run's own.
    with_baselines: whether to add what counting alone scores (evaluation/baselines.py), and on
      synthetic languages the best there can be (evaluation/bayes_optimal.py).
    other: settings of a masking policy (the group `masking` of a config as a dict) under
      which to score too, as `other_loss` and so on; None for none.

  Raises:
    UserError: no run, checkpoint or data there; data made with another tokenizer or
      with rows beyond the model's positions; a loss that is not finite.
  """
  opened = run_lib.open_run(workdir, step)
  config = config_lib.stages(opened.config)[-1][1]
  folder = pathlib.Path(data or data_folder(opened.config, workdir, config))
  if not folder.exists():
    raise config_lib.UserError(f'the held-out text is not in {folder}: say with --data where it is')
  prepared = store.open_prepared(folder)
  if prepared.tokenizer.sha256 != opened.tokenizer.sha256:
    raise config_lib.UserError(
      f'{prepared.directory} was prepared with another tokenizer than {workdir}'
    )
  if config.objective.pairs_weight and prepared.manifest['settings']['pairs'] != config.data.pairs:
    raise config_lib.UserError(
      f'{prepared.directory} was prepared with config.data.pairs = '
      f'{prepared.manifest["settings"]["pairs"]!r}, '
      f'{workdir} tells pairs of the kind {config.data.pairs!r} apart; prepare the data with that'
    )
  if prepared.row_length > config.model.max_positions:
    raise config_lib.UserError(
      f'{prepared.directory} has rows of {prepared.row_length}, beyond the '
      f'{config.model.max_positions} positions of the model'
    )
  guessed = {}
  if with_baselines:  # first, since they may refuse
    loader = loader_lib.EvaluationLoader(
      prepared, config.evaluation.batch_size, config.evaluation.rows
    )
    if bayes_optimal.is_known(prepared):
      guessed['optimal'] = bayes_optimal.score(prepared, loader)
    guessed |= baselines.score(prepared, loader)
  mesh = sharding.largest_mesh(config.evaluation.batch_size)
  params, adapted = jax.device_put((opened.trained, opened.adapted), sharding.replicated(mesh))
  scores = {'step': opened.step}
  evaluators = _evaluators(config, prepared, mesh)
  if other:
    store.needs(prepared, other)
    policy = masking.make(prepared.table, length=prepared.row_length, **other)
    policy = jax.device_put(policy, sharding.replicated(mesh))
    # What another policy would have learned is not known: it stands at its start.
    evaluators['other'] = lambda params, progress, adapted: dataclasses.replace(
      evaluators['policy'], policy=policy
    )(params, progress, policy.learned)
  for name, evaluator in evaluators.items():
    values = evaluator(params, opened.step / config.total_steps, adapted)
    if not math.isfinite(values.get('loss', math.nan)):
      raise config_lib.UserError(f'the {name} loss of step {opened.step} is not a number')
    scores |= {f'{name}_{metric}': value for metric, value in values.items()}
  scores |= {
    f'{name}_{metric}': value for name, guess in guessed.items() for metric, value in guess.items()
  }
  return scores
