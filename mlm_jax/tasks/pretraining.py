"""Pretraining: from a config to a masked-language-model Problem, and the run of it."""

from collections.abc import Callable
import functools
import pathlib
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import models
from mlm_jax import objectives
from mlm_jax.core import metrics
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.data import extension as extension_lib
from mlm_jax.data import folder as folder_lib
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import prepare
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.evaluation import heldout
from mlm_jax.evaluation import score_run
from mlm_jax.models import flops
from mlm_jax.models import neighbour_init
from mlm_jax.tasks import init_from
from mlm_jax.training import checkpoint
from mlm_jax.training import distributed
from mlm_jax.training import launch
from mlm_jax.training import optim
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib

Config = Any
Log = Callable[[str], None]


def run(
  config: Config,
  workdir: str | pathlib.Path,
  log: Log = print,
  profile: bool = False,
  changed_code: bool = False,
) -> bool:
  """Pretrains in workdir, from wherever it is; returns whether the run is complete.

  See launch.run, also for several processes.
  """
  config = resolve(config)
  make = functools.partial(make_problem, config, workdir)
  return launch.run(config, workdir, make, log, profile, changed_code)


def make_problem(
  config: Config, workdir: str | pathlib.Path, mesh: jax.sharding.Mesh, log: Log
) -> problem_lib.Problem:
  """Returns the Problem of a resolved config; its data is prepared in workdir where it is missing.

  Of several processes the first one prepares, and the others open what it made.
  """
  check(config, mesh)
  is_begun = bool(checkpoint.steps(pathlib.Path(workdir) / 'checkpoints'))
  if not is_begun:
    init_from.check(config, sketch(config))
  # The others call it afterwards, find everything prepared, and only open it.
  make = lambda: prepare_data(config, workdir, log)
  prepared = distributed.on_first(make) or make()
  for each in prepared:
    store.needs(each, config.masking)
  return problem(config, prepared, mesh, log, is_begun)


def resolve(config: Config) -> Config:
  """Returns the config with the numbers of its model's size written out, checked."""
  config_lib.check_initial(config)
  config = config.copy_and_resolve_references()  # the caller's own is left as it is
  models.resolve(config.model)
  # The table of the run in init_from, where it is imported, may have no rows for new pieces.
  if extension_lib.asked(config) and config.model.vocab_size < pieces(config):
    config.model.vocab_size = 0
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
  config.lock()  # from here on nothing can be added, so a misspelled key is an error
  return config


def prepare_data(
  config: Config, workdir: str | pathlib.Path | None, log: Log = print
) -> list[store.Prepared]:
  """Returns the prepared data of each stage of a run, made where it is missing.

  All stages share the tokenizer of the first.
  """
  config_lib.check_initial(config)
  # Stages that read the same rows share what is prepared.
  made, prepared = {}, []
  for _, stage in config_lib.stages(config):
    # What is prepared depends on these three; stages differ in nothing else of their data.
    folder = folder_lib.of_stage(config, workdir, stage)
    what = folder, stage.data.row_length, stage.data.max_segments
    if what not in made:
      model = prepared[0].tokenizer.model if prepared else None
      made[what] = prepare.prepare(stage.data, folder, log, model, extension_lib.asked(config))
    prepared.append(made[what])
  return prepared


def check(config: Config, mesh: jax.sharding.Mesh) -> None:
  """Raises UserError for what can be known to be wrong before any data is read.

  That is mesh, batch and model that cannot work together, parameters without a decay rule, and a
  masking policy that cannot be made.
  """
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
  # A generator has fewer heads and less width, which may not be divisible where the model's are.
  if config.objective.name == 'rtd':
    sharding.check_model(mesh, objectives.generator_config(config))
  # Every piece of the config that decides about the parameters is here but the vocabulary.
  # A parameter without a decay rule is found here, before a corpus is prepared.
  optim.decayed(config.optim, jax.eval_shape(sketch(config).init, rng.root_key(0)))
  for _, stage in config_lib.stages(config):
    _check_policy(stage)


def sketch(config: Config) -> objectives.Objective:
  """Returns the objective as far as it is known before data is prepared: all but its ids."""
  return objectives.make(config, pieces(config), pad_id=0, sep_id=0, head_rows=1)


def _check_policy(config: Config) -> None:
  """Raises UserError where the policy cannot be made, such as one of the researcher's own."""
  settings = config.masking.to_dict()
  # Which classes there are only the data say.
  if settings['selection'] != 'class':
    table = vocabulary.table(pieces(config), mask_id=0, special_ids=(0,))
    masking.make(table, length=config.data.row_length, **settings)


def pieces(config: Config) -> int:
  """Returns the pieces of the tokenizer, as far as they are known before data is prepared."""
  tokenizer = config.data.tokenizer
  if tokenizer in tokenizer_lib.TRAINED:
    return config.data.vocab_size
  # Where its file is gone, the data may be there nevertheless.
  if pathlib.Path(tokenizer).is_file():
    return tokenizer_lib.load(tokenizer).size + extension_lib.asked(config)
  return config.model.vocab_size or config.data.vocab_size


def _check_batch(config: Config, devices: int) -> None:
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


def problem(
  config: Config,
  prepared: list[store.Prepared],
  mesh: jax.sharding.Mesh,
  log: Log = print,
  is_begun: bool = False,
) -> problem_lib.Problem:
  """Returns the Problem of pretraining on prepared data; `check` has passed.

  Held-out rows and the policy that masks them are those of the last stage, also before it: so a
  run's evaluations can be compared with each other.

  Args:
    config: resolved.
    prepared: the data of each stage.
    mesh: see `sharding`.
    log: takes lines of text.
    is_begun: whether the run has checkpoints, from which alone it goes on: the one in
      config.init_from may be gone by now.

  Raises:
    UserError: batches that the data cannot fill, or a run in config.init_from that does not fit.
  """
  stages = config_lib.stages(config)
  made = tuple(
    _stage(first, stage, prepared[number], mesh, _rows_before(stages, prepared, number))
    for number, (first, stage) in enumerate(stages)
  )
  objective: Any = made[0].objective  # by its type, a Stage has any task's objective
  last = stages[-1][1]
  held_out = _held_out(last, prepared[-1], mesh)
  given = None if is_begun else init_from.params(config, objective, prepared[0], log)
  return problem_lib.Problem(
    stages=made,
    init=_init(config.model, objective),
    evaluators=held_out.evaluators(step_lib.make_eval_step(held_out.objective)),
    ranking=problem_lib.Ranking(
      score_run.REFERENCE, 'loss', 'min', config.evaluation.patience, config.evaluation.min_delta
    ),
    fingerprints=_fingerprints(prepared),
    aux=made[0].hparams.learned,
    init_params=given,
    final_reports=held_out.reports,
    # Perplexity from the mean loss: a mean of perplexities would be another number.
    means=lambda sums: heldout.with_perplexity(metrics.means(sums)),
    work=functools.partial(_work, objective),
    shown=('loss', 'accuracy'),
    warnings={'overflow': 'of the predictions did not fit their buffer'},
    spike_metric='loss',
    artifacts={
      'tokenizer': prepared[0].directory / 'tokenizer',
      # Policies may depend on the counts.
      store.STATISTICS: prepared[0].directory / store.STATISTICS,
      **init_from.embedding(config.init_from),
    },
  )


def _fingerprints(prepared: list[store.Prepared]) -> dict[str, str]:
  """Returns {name: text} of what the run's data must stay."""
  fingerprints = {
    'tokenizer': prepared[0].tokenizer.sha256,
    'data_fingerprint': prepared[0].fingerprint,
  }
  for each in prepared:
    # A stage with other rows has a fingerprint of its own, named by its rows.
    if each.fingerprint != prepared[0].fingerprint:
      name = f'{each.row_length}x{each.manifest["settings"]["max_segments"]}'
      fingerprints[f'data_fingerprint_{name}'] = each.fingerprint
  return fingerprints


def _rows_before(
  stages: list[tuple[int, Config]], prepared: list[store.Prepared], number: int
) -> int:
  """Returns how many rows of a stage's data the stages before it have drawn."""
  # A stage on the same data continues where the last one ended, or it would repeat its rows.
  ends = [first for first, _ in stages[1:]]
  return sum(
    (end - first) * stage.batch_size
    for (first, stage), end, data in zip(stages[:number], ends, prepared, strict=False)
    if data.fingerprint == prepared[number].fingerprint
  )


def _stage(
  first: int, config: Config, prepared: store.Prepared, mesh: jax.sharding.Mesh, begin: int
) -> problem_lib.Stage:
  """Returns the Stage of one stage's config; its data continues behind `begin` rows."""
  policy = masking.make(prepared.table, length=prepared.row_length, **config.masking.to_dict())
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
  objective = _objective(config, prepared.tokenizer, head_rows(config, mesh), policy.counted)
  return problem_lib.Stage(
    first,
    config,
    objective,
    policy,
    lambda step: loader.batch(step - first),
    lambda step: loader.examples(step - first),
  )


def head_rows(config: Config, mesh: jax.sharding.Mesh) -> int:
  """Returns how many rows of a training step share one prediction buffer."""
  # By default all rows that a device has of a micro-batch.
  rows = config.batch_size // (sharding.row_parts(mesh) * config.grad_accumulation_steps)
  return config.model.head_rows or rows


def _objective(
  config: Config,
  tokenizer: tokenizer_lib.Tokenizer,
  head_rows: int,
  counted: str = '',
  predict_all: bool | None = None,
) -> objectives.Objective:
  return objectives.make(
    config, tokenizer.size, tokenizer.pad_id, tokenizer.sep_id, head_rows, counted, predict_all
  )


def _held_out(
  config: Config, prepared: store.Prepared, mesh: jax.sharding.Mesh
) -> score_run.HeldOut:
  """Returns the held-out rows and what scores them: over the chosen positions alone."""
  placement = sharding.Placement(mesh, config.evaluation.batch_size)
  objective = heldout_objective(config, prepared, placement)
  return score_run.held_out(config, prepared, objective, placement)


def heldout_objective(
  config: Config, prepared: store.Prepared, placement: sharding.Placement
) -> objectives.Objective:
  """Returns what scores held-out rows: over the chosen positions alone."""
  # Not predict_all, which would mix in tokens that the model sees: the loss could not be compared.
  rows = config.evaluation.batch_size // placement.parts
  return _objective(config, prepared.tokenizer, rows, predict_all=False)


def _work(objective: objectives.Objective, sums: problem_lib.Sums) -> dict[str, float]:
  """Returns the tokens and FLOPs of the training steps whose metrics were summed."""
  # The metric `padding` is (padding, all positions); the weight of `loss` counts predictions.
  padding, tokens = sums['padding']
  useful = float(tokens - padding)
  attended, predicted = float(sums['attended'][0]), float(sums['loss'][1])
  return {
    'tokens': float(tokens),
    'useful_tokens': useful,
    'model_flops': flops.training(objective, useful, attended, predicted),
  }


def _init(config: Config, objective: objectives.Objective) -> Callable[[jax.Array], Any]:
  """Returns init(key) -> params, as config.init says; config is the group `model`."""
  if config.init == 'normal':
    return objective.init

  def init(key: jax.Array) -> Any:
    params = neighbour_init.start(objective.init(key), objective.encoder.architecture)
    # A generator is an encoder too, of another size.
    if 'generator' in params:
      params['generator'] = neighbour_init.start(
        params['generator'], objective.mlm.model.architecture
      )
    return params

  return init
