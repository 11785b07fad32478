"""Adaptation: pretraining that goes on with the text of a domain, and sees what is lost meanwhile.

The Problem is that of pretraining with an evaluator more, of general text, whose loss may rise by
an allowance and no further. The best checkpoint is that of the least domain loss of those within.
"""

from collections.abc import Callable
import dataclasses
import functools
import pathlib
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.data import extension as extension_lib
from mlm_jax.data import folder as folder_lib
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import prepare
from mlm_jax.data import store
from mlm_jax.data.corpus import sources as sources_lib
from mlm_jax.evaluation import heldout
from mlm_jax.evaluation import score_run
from mlm_jax.tasks import pretraining
from mlm_jax.training import distributed
from mlm_jax.training import launch
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib
from mlm_jax.training import workdir as workdir_lib

Config = Any
Log = Callable[[str], None]
GENERAL = 'general'  # the evaluator, and the folder of general text that is prepared for the run

resolve = pretraining.resolve


def run(
  config: Config,
  workdir: str | pathlib.Path,
  log: Log = print,
  profile: bool = False,
  changed_code: bool = False,
) -> bool:
  """Adapts in workdir, from wherever it is; returns whether the run is complete.

  See launch.run.
  """
  config = resolve(config)
  make = functools.partial(make_problem, config, workdir)
  return launch.run(config, workdir, make, log, profile, changed_code)


def make_problem(
  config: Config, workdir: str | pathlib.Path, mesh: jax.sharding.Mesh, log: Log
) -> problem_lib.Problem:
  """Returns the Problem of a resolved config; its data is prepared in workdir where it is missing.

  Raises:
    UserError: as pretraining; general rows that are not there, or that cannot be mixed in.
  """
  if extension_lib.asked(config) and not config.adapt.general:
    raise config_lib.UserError(
      f'config.adapt.new_pieces = {config.adapt.new_pieces}: the rows that {config.init_from} '
      'keeps are of the tokenizer without them; name general text in config.adapt.general, such as '
      'text:GENERAL/*.txt'
    )
  # Before the domain is prepared, which may take long.
  place = None if config.adapt.general else _kept(config.init_from)
  if place is None and not store.finished(pathlib.Path(workdir) / GENERAL):
    for source in sources_lib.parse(_data(config, config.data.tokenizer)):
      source.inputs()
  problem = pretraining.make_problem(config, workdir, mesh, log)
  (domain,) = pretraining.prepare_data(config, workdir, lambda line: None)
  # Of several processes the first prepares, and the others open what it made.
  make = lambda: _general(config, workdir, place, domain, log)
  general = distributed.on_first(make) or make()
  if general.tokenizer.sha256 != domain.tokenizer.sha256:
    raise config_lib.UserError(
      f'{general.directory} was prepared with another tokenizer than that of {config.init_from}'
    )
  stages = (_mixed(config, problem.stages[0], domain, general, mesh),)
  return dataclasses.replace(
    problem,
    stages=stages if config.adapt.replay else problem.stages,
    evaluators={**problem.evaluators, GENERAL: _evaluator(config, general, mesh)},
    ranking=dataclasses.replace(
      problem.ranking, guard=f'{GENERAL}_loss', allowance=config.adapt.allowance
    ),
    keeps='best',
    fingerprints=problem.fingerprints | {'general_fingerprint': general.fingerprint},
  )


def _kept(parent: str) -> pathlib.Path:
  """Returns the folder of the rows that a run has kept; UserError where it has none."""
  config = workdir_lib.read_config(parent)
  place = None
  if 'task' not in config:
    place = folder_lib.of_stage(config, parent, config_lib.final_stage(config))
  if place is None or not store.finished(place):
    raise config_lib.UserError(
      f'config.init_from = {parent} keeps no general rows'
      + (f' in {place}' if place else '')
      + '; name general text in config.adapt.general, such as text:GENERAL/*.txt'
    )
  return place


def _general(
  config: Config,
  workdir: str | pathlib.Path,
  place: pathlib.Path | None,
  domain: store.Prepared,
  log: Log,
) -> store.Prepared:
  """Returns the rows of general text: those in a folder, or made of config.adapt.general."""
  if place:
    return store.open_prepared(place)
  # Beside the domain's, which may lie where several runs share it.
  extended = str(domain.directory / store.TOKENIZER)
  tokenizer = extended if extension_lib.asked(config) else config.data.tokenizer
  try:
    return prepare.prepare(_data(config, tokenizer), pathlib.Path(workdir) / GENERAL, log)
  except config_lib.UserError as error:
    raise config_lib.UserError(f'config.adapt.general: {error}') from None


def _data(config: Config, tokenizer: str) -> Config:
  """Returns the group `data` as it is for config.adapt.general, with a tokenizer's path."""
  data = config.data.copy_and_resolve_references()
  data.update(source=config.adapt.general, weights=(), sampling_alpha=1.0, prepared='')
  data.tokenizer = tokenizer
  return data


def _evaluator(
  config: Config, general: store.Prepared, mesh: jax.sharding.Mesh
) -> heldout.Evaluator:
  """Returns what scores general text under the reference masks, as `evaluate` would."""
  placement = sharding.Placement(mesh, config.evaluation.batch_size)
  objective = pretraining.heldout_objective(config, general, placement)
  return heldout.Evaluator(
    jax.jit(step_lib.make_eval_step(objective)),
    jax.device_put(heldout.reference_policy(general.table), placement.whole),
    score_run.loaders(config, general, placement),
    placement.put,
  )


def _mixed(
  config: Config,
  stage: problem_lib.Stage,
  domain: store.Prepared,
  general: store.Prepared,
  mesh: jax.sharding.Mesh,
) -> problem_lib.Stage:
  """Returns the Stage with config.adapt.replay of its rows from general text."""
  if not config.adapt.replay:
    return stage
  for name in ('row_length', 'max_segments'):
    ours, theirs = (each.manifest['settings'][name] for each in (domain, general))
    if ours != theirs:
      raise config_lib.UserError(
        f'config.data.{name} = {ours}: must be the {theirs} of the general rows in '
        f'{general.directory}, which config.adapt.replay mixes in; or name config.adapt.general'
      )
  columns = {name for each in domain.train for name in each.columns}
  if any(columns - set(each.columns) for each in general.train):
    raise config_lib.UserError(
      f'config.adapt.replay = {config.adapt.replay}: the general rows in {general.directory} lack '
      f'what those of the domain have ({", ".join(sorted(columns))}); name config.adapt.general'
    )
  both = dataclasses.replace(
    domain, sources=domain.sources + general.sources, train=domain.train + general.train
  )
  loader = loader_lib.Loader(
    both,
    'train',
    config.batch_size,
    config.seed,
    weights=_shares(config, domain, general),
    local=sharding.local_rows(mesh, config.batch_size),
  )
  return dataclasses.replace(stage, batch=loader.batch, examples=loader.examples)


def _shares(config: Config, domain: store.Prepared, general: store.Prepared) -> tuple[float, ...]:
  """Returns the share of each source in the rows: the domain's, then those of general text."""
  sizes = [np.array([len(rows) for rows in each.train], float) for each in (domain, general)]
  # Inside of the domain as without replay, see loader.Loader; general text by its size.
  ours = np.array(config.data.weights or sizes[0] ** config.data.sampling_alpha, float)
  replay = config.adapt.replay
  parts = (1 - replay) * ours / ours.sum(), replay * sizes[1] / sizes[1].sum()
  return tuple(np.concatenate(parts).tolist())
