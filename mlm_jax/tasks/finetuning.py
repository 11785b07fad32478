"""Fine-tuning: from a config with a group `task` to a Problem, and the run of it.

What differs between tasks is in mlm_jax/downstream. What they share is here: the encoder of the run
in config.init_from and the steps that the epochs take; the splits are in finetuning_data.py, the
scores in finetuning_scores.py.
"""

from collections.abc import Callable
import functools
import math
import pathlib
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax import models
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.data import distinct
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import store
from mlm_jax.evaluation import examples as examples_lib
from mlm_jax.evaluation.examples import VALIDATION
from mlm_jax.models import flops
from mlm_jax.models import low_rank
from mlm_jax.models import text_embedding
from mlm_jax.objectives import finetuning
from mlm_jax.tasks import finetuning_data
from mlm_jax.tasks import finetuning_scores
from mlm_jax.tasks import init_from
from mlm_jax.training import checkpoint
from mlm_jax.training import distributed
from mlm_jax.training import launch
from mlm_jax.training import optim
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding

Config = Any
Log = Callable[[str], None]


def run(
  config: Config,
  workdir: str | pathlib.Path,
  log: Log = print,
  profile: bool = False,
  changed_code: bool = False,
) -> bool:
  """Fine-tunes in workdir, from wherever it is; returns whether the run is complete.

  See launch.run, also for several processes.
  """
  config = resolve(config)
  check(config)
  tokenizer = tokenizers.load(config.data.tokenizer)
  make = lambda: finetuning_data.prepare(config, workdir, tokenizer, log)
  prepared = distributed.on_first(make) or make()
  config = with_steps(config, prepared)
  make_problem = functools.partial(problem, config, prepared, workdir)
  return launch.run(config, workdir, make_problem, log, profile, changed_code)


def resolve(config: Config) -> Config:
  """Returns the config with the numbers of its model's size written out, checked."""
  config_lib.check_initial(config)
  config = config.copy_and_resolve_references()
  models.resolve(config.model)
  config_lib.check(config)
  config.lock()
  return config


def check(config: Config) -> None:
  """Raises UserError for what can be known to be wrong before any example is read."""
  check_task(config)
  mesh = sharding.make_mesh(config.mesh)
  parts = sharding.row_parts(mesh)
  sharding.check_divides(
    'batch_size',
    config.batch_size,
    parts * config.grad_accumulation_steps,
    'data x fsdp devices x grad_accumulation_steps',
  )
  sharding.check_divides(
    'evaluation.batch_size', config.evaluation.batch_size, parts, 'data x fsdp devices'
  )
  sharding.check_model(mesh, config.model)
  _check_adapters(config)


def _check_adapters(config: Config) -> None:
  """Raises UserError for a rule of low-rank adapters that no kernel of the encoder matches."""
  if (adapters := low_rank.of(config)).rank:
    # Which kernels there are does not depend on the vocabulary.
    encoder = models.make(config.model, config.model.vocab_size or 128)
    params = jax.eval_shape(encoder.init, rng.root_key(0))
    adapters.check({name: each for name, each in params.items() if name != 'head'})


def check_task(config: Config) -> None:
  """Does what `check` does as far as that takes no device."""
  downstream.load(config.task.name).check(config.task)
  if not config.task.train:
    raise config_lib.UserError("config.task.train = '': must be the file of training examples")


def with_steps(config: Config, prepared: store.Prepared) -> Config:
  """Returns the config with its steps written out: those that its epochs take."""
  rows = len(prepared.splits['train'])
  an_epoch = max(1, math.ceil(rows / config.batch_size))
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.total_steps = config.total_steps or max(
      1, math.ceil(config.epochs * rows / config.batch_size)
    )
    for group in ('evaluation', 'checkpoint'):
      config[group].every = config[group].every or min(an_epoch, config.total_steps)
    config.optim.warmup_steps = config.optim.warmup_steps or round(
      config.warmup_fraction * config.total_steps
    )
  config_lib.check(config)
  return config


def problem(
  config: Config,
  prepared: store.Prepared,
  workdir: str | pathlib.Path,
  mesh: jax.sharding.Mesh,
  log: Log = print,
) -> problem_lib.Problem:
  """Returns the Problem of fine-tuning on prepared examples."""
  kind, tokenizer = downstream.load(config.task.name), prepared.tokenizer
  objective = downstream.objective(config, tokenizer, prepared.facts)
  params = jax.eval_shape(objective.init, rng.root_key(0))
  optim.decayed(config.optim, params)
  log(_trained(objective, params))
  loader = _loader(kind, prepared, config, sharding.local_rows(mesh, config.batch_size))
  placement = sharding.Placement(mesh, config.evaluation.batch_size)
  step = examples_lib.make_step(objective, placement.whole)
  scored = [name for name in prepared.splits if name != 'train']
  splits = {name: examples_lib.Split(step, prepared, name, placement) for name in scored}
  scorer = finetuning_scores.Scorer(kind, splits, prepared.facts)
  (ranks, mode), *_ = kind.metrics(config.task).items()
  is_begun = bool(checkpoint.steps(pathlib.Path(workdir) / 'checkpoints'))
  return problem_lib.Problem(
    stages=(problem_lib.Stage(0, config, objective, {}, loader.batch, loader.examples),),
    init=objective.init,
    evaluators={VALIDATION: scorer.validation},
    ranking=problem_lib.Ranking(
      VALIDATION, ranks, mode, config.evaluation.patience, config.evaluation.min_delta
    ),
    fingerprints={
      'tokenizer': tokenizer.sha256,
      'data_fingerprint': prepared.fingerprint,
      **{f'{name}_examples': finetuning_scores.digest(prepared, name) for name in scored},
    },
    init_params=None if is_begun else init_from.encoder(config, objective, tokenizer, log),
    final_reports=scorer.final_reports,
    keeps='best',
    work=functools.partial(_work, objective),
    shown=tuple(dict.fromkeys(('loss', 'accuracy', ranks))),
    spike_metric='loss',
    artifacts={
      'tokenizer': prepared.directory / 'tokenizer',
      store.FACTS: prepared.directory / store.FACTS,
      **_embedding(config),
    },
  )


def _loader(
  kind: downstream.Task, prepared: store.Prepared, config: Config, local: np.ndarray
) -> loader_lib.Loader:
  """Returns the loader of the training rows; see downstream.row_groups."""
  made = (prepared, 'train', config.batch_size, config.seed)
  groups = downstream.row_groups(kind, prepared.splits['train'])
  if groups is None:
    return loader_lib.Loader(*made, local=local)
  return distinct.Loader(*made, groups, local=local)


def _embedding(config: Config) -> dict[str, Any]:
  """Returns the artifact of how vectors of texts are made: as trained, or as before."""
  own = downstream.embedding(config)
  if own is None:
    return init_from.embedding(config.init_from)
  return {text_embedding.FOLDER: lambda workdir: text_embedding.write(workdir, own)}


def _trained(objective: finetuning.Objective, params: Any) -> str:
  """Returns how many of the parameters are trained, in words."""
  is_frozen = trees.match([*((each, True) for each in objective.freeze), ('.*', False)], params)
  sizes = jax.tree.map(lambda leaf, frozen: 0 if frozen else leaf.size, params, is_frozen)
  return f'trains {sum(jax.tree.leaves(sizes)):,} of {trees.count(params):,} parameters'


def _work(objective: finetuning.Objective, sums: problem_lib.Sums) -> dict[str, float]:
  """Returns the tokens, examples and FLOPs of the steps whose metrics were summed."""
  padding, tokens = map(float, sums['padding'])
  attended = float(sums['attended'][0])
  return {
    'tokens': tokens,
    'useful_tokens': tokens - padding,
    'examples': float(sums['examples_per_row'][0]),
    'model_flops': flops.training(objective, tokens - padding, attended, 0),
  }
