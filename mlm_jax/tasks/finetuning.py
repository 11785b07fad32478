"""Fine-tuning: from a config with a group `task` to a Problem, and the run of it.

What differs between tasks is in mlm_jax/downstream. What they share is here: the splits, the
encoder of the run in config.init_from, the steps that the epochs take, and the scores.
"""

from collections.abc import Callable
import functools
import hashlib
import json
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
from mlm_jax.data.examples import held_out as held_out_lib
from mlm_jax.data.examples import store
from mlm_jax.evaluation import examples as examples_lib
from mlm_jax.models import flops
from mlm_jax.models import low_rank
from mlm_jax.models import text_embedding
from mlm_jax.objectives import finetuning
from mlm_jax.tasks import init_from
from mlm_jax.training import checkpoint
from mlm_jax.training import distributed
from mlm_jax.training import launch
from mlm_jax.training import optim
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding

Config = Any
Log = Callable[[str], None]
VALIDATION = 'validation'


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
  make = lambda: prepare(config, workdir, tokenizer, log)
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


def data_settings(config: Config) -> dict[str, Any]:
  """Returns {dotted key: value} of what decides about the prepared examples, but the tokenizer."""
  ignored = (
    *('data.prepared', 'data.tokenizer', 'data.tokenizer_threads', 'task.from_scratch'),
    *downstream.of_training(downstream.load(config.task.name)),
  )
  flat = config_lib.flatten({name: config[name].to_dict() for name in ('task', 'data')})
  learned = ('task.freeze', 'task.lora.')
  return {
    key: value for key, value in flat.items() if key not in ignored and not key.startswith(learned)
  }


def prepare(
  config: Config, workdir: str | pathlib.Path, tokenizer: tokenizers.Tokenizer, log: Log = print
) -> store.Prepared:
  """Returns the prepared examples of a run, made where they are missing.

  Raises:
    UserError: whatever is wrong with the files, or a folder that cannot be used.
  """
  folder = pathlib.Path(config.data.prepared or pathlib.Path(workdir) / 'data')
  kind = downstream.load(config.task.name)
  named = [config.task[name] for name in ('train', VALIDATION, 'test') if config.task[name]]
  files = [each for path in dict.fromkeys(named) for each in downstream.files(kind, path)]
  make = lambda: _encode(config, tokenizer, log)
  return store.prepare(folder, data_settings(config), files, tokenizer, make, log)


def _encode(
  config: Config, tokenizer: tokenizers.Tokenizer, log: Log
) -> tuple[dict, dict[str, store.Encoded]]:
  """Returns (facts, {split: Encoded}) of the files that the config names."""
  kind = downstream.load(config.task.name)
  splits = splits_of(config)
  facts = kind.facts(config.task, splits['train'])
  _warn_of_shared(kind, splits, log)
  return facts, {
    name: kind.encode(examples, config, tokenizer, facts) for name, examples in splits.items()
  }


def splits_of(config: Config) -> dict[str, list[Any]]:
  """Returns {split: its examples}: train, validation and, where the config names one, test."""
  task, kind = config.task, downstream.load(config.task.name)
  if (own := downstream.splits(kind, task)) is not None:
    return own
  training = kind.read(task.train, task)
  if task.validation:
    splits = {'train': training, VALIDATION: kind.read(task.validation, task)}
  else:
    groups = [downstream.group_of(kind, n, each) for n, each in enumerate(training)]
    held_out = held_out_lib.held_out(groups, task.validation_fraction, task.train, VALIDATION)
    splits = {
      'train': [each for n, each in enumerate(training) if n not in held_out],
      VALIDATION: [each for n, each in enumerate(training) if n in held_out],
    }
  return splits | ({'test': kind.read(task.test, task)} if task.test else {})


def _warn_of_shared(task: downstream.Task, splits: dict[str, list[Any]], log: Log) -> None:
  """Says how many examples of validation and test are in training too."""
  seen = {task.key(each) for each in splits['train']}
  for name, examples in splits.items():
    shared = sum(task.key(each) in seen for each in examples) if name != 'train' else 0
    if shared:
      log(
        f'warning: {shared:,} of the {len(examples):,} {name} examples are training examples too: '
        'their scores say little of others'
      )


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
  split = lambda name: examples_lib.Split(step, prepared, name, placement)
  (ranks, mode), *_ = kind.metrics(config.task).items()
  is_begun = bool(checkpoint.steps(pathlib.Path(workdir) / 'checkpoints'))
  return problem_lib.Problem(
    stages=(problem_lib.Stage(0, config, objective, {}, loader.batch, loader.examples),),
    init=objective.init,
    evaluators={VALIDATION: functools.partial(_evaluate, kind, split(VALIDATION))},
    ranking=problem_lib.Ranking(
      VALIDATION, ranks, mode, config.evaluation.patience, config.evaluation.min_delta
    ),
    fingerprints={
      'tokenizer': tokenizer.sha256,
      'data_fingerprint': prepared.fingerprint,
      **{f'{name}_examples': digest(prepared, name) for name in prepared.splits if name != 'train'},
    },
    init_params=None if is_begun else init_from.encoder(config, objective, tokenizer, log),
    final_reports=functools.partial(_final_reports, kind, split, 'test' in prepared.splits),
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


def digest(prepared: store.Prepared, split: str) -> str:
  """Returns the sha256 of a split's examples, whatever file and rows they are in."""
  content = [
    {name: value for name, value in each.items() if name != 'where'}
    for each in prepared.examples(split)
  ]
  return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _evaluate(
  task: downstream.Task, split: examples_lib.Split, params: Any, aux: Any, progress: float
) -> dict[str, float]:
  """Returns {metric: value} of a split: see problem.Problem."""
  means, outputs = split.outputs(params)
  examples, facts = _examples(task, split), split.prepared.facts
  facts = facts | downstream.calibrated(task, facts, lambda: (outputs, examples))
  return _scores(task, means, outputs, examples, facts)


def _scores(
  task: downstream.Task, means: dict, outputs: list[dict], examples: list[Any], facts: dict
) -> dict[str, float]:
  """Returns {metric: value}, the loss among them where examples alone have one."""
  loss = {name: value for name, value in means.items() if name == 'loss'}
  return loss | task.score(outputs, examples, facts)


def _examples(task: downstream.Task, split: examples_lib.Split) -> list[Any]:
  """Returns the examples of a split."""
  return [task.Example(**fields) for fields in split.prepared.examples(split.name)]


def _final_reports(
  task: downstream.Task, split: Callable, has_test: bool, params: Any, aux: Any
) -> dict[str, Any]:
  """Returns {file: content} of a run that has ended: scores and predictions of the test examples.

  Without test examples those of validation are written, and their file says so. What the examples
  of validation decide of the model is a file of its own, see downstream.calibrated.
  """
  of, validation = split('test' if has_test else VALIDATION), split(VALIDATION)
  outputs_of = lambda each: (each.outputs(params)[1], _examples(task, each))
  calibrated = downstream.calibrated(task, of.prepared.facts, lambda: outputs_of(validation))
  means, outputs = of.outputs(params)
  examples, facts = _examples(task, of), of.prepared.facts | calibrated
  lines = task.predictions(outputs, examples, facts)
  report = {
    'split': of.name,
    'examples': len(lines),
    'scores': _scores(task, means, outputs, examples, facts),
    'errors': task.errors(lines, facts),
  }
  files = {examples_lib.TEST: report, examples_lib.PREDICTIONS: lines}
  return files | ({store.CALIBRATION: {'facts': calibrated}} if calibrated else {})


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
