"""The train and evaluation steps of a config as shapes: no data, no parameters, no device.

They are put together as pretraining puts them together (see training/compiled.py), so what is
compiled is what would train. Ids are made up: they are constants of a program, and change nothing
in what it costs.
"""

from collections.abc import Iterator
import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import objectives
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.data import annotations
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.evaluation import heldout
from mlm_jax.tasks import pretraining
from mlm_jax.training import compiled as compiled_lib
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib

_PAD, _SEP, _MASK, _SPECIAL = 0, 3, 4, range(5)

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Program:
  """A step, and what it is called with.

  Attributes:
    name: what it does, for a person.
    trains: whether it is a training step.
    stage: number of the stage.
    times: how often a run calls it.
    config: of the stage.
    batch_size: rows, over all devices.
    objective, policy: of the step.
    step: the jitted function.
    arguments: of it, as shapes with shardings.
    params: the parameters among them.
    state: the TrainState, of a training step; None of another.
    batch: the rows among the arguments.
  """

  name: str
  trains: bool
  stage: int
  times: int
  config: Any
  batch_size: int
  objective: Any
  policy: masking.Policy
  step: Any
  arguments: tuple[Any, ...]
  params: PyTree
  state: PyTree | None
  batch: batches.Batch


def check(config: Any) -> None:
  """Raises UserError where the programs depend on facts that only prepared data have."""
  data, pieces = config.data, config.model.vocab_size
  is_trained = data.tokenizer in tokenizer_lib.TRAINED
  if not (is_trained or pieces or pathlib.Path(data.tokenizer).is_file()):
    raise config_lib.UserError(
      f'config.data.tokenizer = {data.tokenizer!r}: is not here, so its pieces are not known; give '
      'their number with --config.model.vocab_size=N'
    )
  if config.masking.selection == 'class':
    raise config_lib.UserError(
      "config.masking.selection = 'class': the classes are named in prepared data; plan with "
      '--config.masking.selection=uniform, which costs about as much'
    )


def of(config: Any, mesh: jax.sharding.Mesh) -> Iterator[Program]:
  """Yields the Program of each stage's training step, then those of the evaluation.

  Args:
    config: resolved; `pretraining.check` and `check` have passed.
    mesh: of devices that need not be there.
  """
  stages = config_lib.stages(config)
  ends = [*(first for first, _ in stages[1:]), config.total_steps]
  state, aux = None, None
  for number, ((first, stage), end) in enumerate(zip(stages, ends, strict=True)):
    policy = _policy(stage)
    objective = _objective(stage, pretraining.head_rows(stage, mesh), policy.counted)
    if state is None:
      aux = policy.learned
      state = _state(objective, config, aux, mesh)
    step = compiled_lib.optimizer_step(objective, stage, mesh, state)
    batch = _batch(stage, stage.batch_size, mesh)
    arguments = (state, _whole(policy, mesh), batch, _key(mesh))
    what = f'training, steps {first + 1:,} to {end:,}'
    yield Program(
      what, True, number, end - first, stage, stage.batch_size, objective, policy, step, arguments,
      state.params, state, batch,
    )  # fmt: skip
  yield from _evaluations(stages[-1][1], config, state, mesh)


def _evaluations(stage: Any, config: Any, state: Any, mesh: jax.sharding.Mesh) -> Iterator[Program]:
  """Yields the step that scores held-out rows, under the reference policy and the run's own."""
  size = config.evaluation.batch_size
  objective = _objective(stage, size // sharding.row_parts(mesh), predict_all=False)
  step = jax.jit(step_lib.make_eval_step(objective))
  batch = _batch(stage, size, mesh)
  table = _table(stage)
  evaluations = -(-config.total_steps // config.evaluation.every) + config.evaluation.at_start
  # Of all held-out rows (0) the number is not known before they are prepared.
  times = evaluations * -(-config.evaluation.rows // size)
  policies = {'reference': heldout.reference_policy(table), 'own': _policy(stage)}
  for name, policy in policies.items():
    arguments = (
      state.params,
      state.aux,
      _whole(policy, mesh),
      batch,
      _key(mesh),
      0.5,  # the share of the training that is done, which the program does not depend on
    )
    yield Program(
      f'evaluation, {name} policy', False, len(config.stages or (0,)) - 1, times, stage, size,
      objective, policy, step, arguments, state.params, None, batch,
    )  # fmt: skip


def _table(config: Any) -> vocabulary.Table:
  return vocabulary.table(pretraining.pieces(config), _MASK, _SPECIAL)


def _policy(config: Any) -> masking.Policy:
  return masking.make(_table(config), length=config.data.row_length, **config.masking.to_dict())


def _objective(
  config: Any, head_rows: int, counted: str = '', predict_all: bool | None = None
) -> objectives.Objective:
  pieces = pretraining.pieces(config)
  return objectives.make(config, pieces, _PAD, _SEP, head_rows, counted, predict_all)


def _state(objective: Any, config: Any, aux: PyTree, mesh: jax.sharding.Mesh) -> Any:
  """Returns the TrainState's shapes and places."""
  frozen = problem_lib.frozen(objective)
  init = compiled_lib.initial_state(objective.init, config, aux, frozen)
  state = jax.eval_shape(init, rng.root_key(0))
  return jax.tree.map(_placed, state, sharding.by_rules(mesh, state))


def _batch(config: Any, rows: int, mesh: jax.sharding.Mesh) -> batches.Batch:
  """Returns the shapes of rows as the loader gives them, divided over the devices."""
  length, segments = config.data.row_length, config.data.max_segments
  array = lambda shape, dtype: jax.ShapeDtypeStruct(
    (rows, *shape), dtype, sharding=sharding.by_rows(mesh)
  )
  ids = np.uint16 if pretraining.pieces(config) <= 2**16 else np.int32
  return batches.Batch(
    array((length,), ids),
    array((segments,), np.int32),
    array((2,), np.uint32),
    array((), np.uint32),
    {
      each.name: array((each.width(length, segments),), each.dtype)
      for each in annotations.asked(config.data)
    },
  )


def _whole(tree: PyTree, mesh: jax.sharding.Mesh) -> PyTree:
  """Returns a tree's shapes, held as a whole by every device."""
  place = sharding.replicated(mesh)
  shapes = jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, tree))
  return jax.tree.map(lambda x: _placed(x, place), shapes)


def _key(mesh: jax.sharding.Mesh) -> jax.ShapeDtypeStruct:
  return _placed(jax.eval_shape(lambda: rng.root_key(0)), sharding.replicated(mesh))


def _placed(x: Any, place: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
