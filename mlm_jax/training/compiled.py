"""A problem's functions, jitted on a mesh: the optimizer, the step and where arrays lie."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax

from mlm_jax.core import rng
from mlm_jax.models import flops
from mlm_jax.training import optim
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Compiled:
  """What the loop calls. R >= 1 runs train as one; with more than one, states have an axis R.

  Attributes:
    init: (key) -> TrainState; of a run on its own.
    steps: one a stage: (state, batch, key) -> (state, metrics).
    batch: (step) -> the step's global batch on the devices.
    state: the TrainState's shapes, dtypes and shardings.
    metrics: likewise of the metrics.
    evaluators: {name: (params, aux, progress) -> [{metric: value} of each run]}.
    steps_ahead: steps that may be queued before the oldest must have ended.
    peak: FLOP/s that the devices together can do; None where it is not known.
    runs: R.
    part: (tree on the devices, r) -> run r's part of it.
    parts: (tree on the host) -> [each run's part of it].
  """

  init: Callable
  steps: tuple[Callable, ...]
  batch: Callable
  state: Any
  metrics: Any
  evaluators: Mapping[str, Callable]
  steps_ahead: int
  peak: float | None
  runs: int = 1
  part: Callable = lambda tree, r: tree
  parts: Callable = lambda tree: [tree]


def optimizer_step(
  objective: problem_lib.Objective,
  config: Any,
  mesh: jax.sharding.Mesh | None = None,
  state: step_lib.TrainState | None = None,
  optim_config: Any = None,
) -> Callable:
  """Returns step(state, hparams, batch, root_key) -> (state, metrics).

  The one place where optimizer, schedule, step and shardings are put together.

  Args:
    objective: see problem.Objective.
    config: of the stage: its group `optim`, total_steps and grad_accumulation_steps.
    mesh: to jit it for, with the state donated; None for the pure function.
    state: TrainState of shapes; needed with a mesh.
    optim_config: in place of config.optim; its learning_rate and weight_decay may be traced.
  """
  settings = config.optim if optim_config is None else optim_config
  step = step_lib.make_train_step(
    objective,
    optim.make(settings, config.total_steps, problem_lib.frozen(objective)),
    optim.schedule(settings, config.total_steps),
    config.total_steps,
    config.grad_accumulation_steps,
  )
  if mesh is None:
    return step
  places, whole = sharding.by_rules(mesh, state), sharding.replicated(mesh)
  # Without out_shardings layouts drift and the step compiles twice.
  return jax.jit(
    step,
    in_shardings=(places, whole, sharding.by_rows(mesh), whole),
    out_shardings=(places, whole),
    donate_argnums=0,  # the new state is written over the old one, so memory holds one
  )


def initial_state(
  init: Callable, config: Any, aux: PyTree = None, frozen: Sequence[str] = ()
) -> Callable:
  """Returns (key) -> TrainState before the first step, from init(key) -> params."""
  return step_lib.make_init(init, optim.make(config.optim, config.total_steps, frozen), aux)


def compile_problem(problem: problem_lib.Problem, config: Any, mesh: jax.sharding.Mesh) -> Compiled:
  """Returns the jitted init and train steps of one run; compilation happens at the first call."""
  # Nothing is computed here: shapes alone say where everything will lie.
  frozen = problem_lib.frozen(problem.stages[0].objective)
  init = initial_state(problem.init, config, problem.aux, frozen)
  state = jax.eval_shape(init, rng.root_key(0))
  places, whole = sharding.by_rules(mesh, state), sharding.replicated(mesh)
  # On the devices once: a step would carry them over again each time.
  hparams = [jax.device_put(stage.hparams, whole) for stage in problem.stages]
  jitted: list[Any] = [
    optimizer_step(each.objective, each.config, mesh, state) for each in problem.stages
  ]
  placed = jax.tree.map(_placed, state, places)

  def batch(number: int) -> PyTree:
    stage = problem.stages[problem.stage_at(number)]
    return sharding.put(stage.batch(number), mesh, stage.config.batch_size)

  # The shapes of the metrics are needed before the first step: a checkpoint holds a sum of them.
  # With the places of what the step will be given, so that it is traced once for both.
  rows = sharding.by_rows(mesh)
  first_batch = jax.tree.map(lambda x: _placed(x, rows), jax.eval_shape(lambda: batch(0)))
  metrics = jitted[0].eval_shape(placed, hparams[0], first_batch, rng.root_key(0))[1]
  return Compiled(
    init=jax.jit(init, out_shardings=places),
    steps=tuple(map(_with_hparams, jitted, hparams)),
    batch=batch,
    state=placed,
    metrics=jax.tree.map(lambda x: _placed(x, whole), metrics),
    evaluators={name: _of_one(each) for name, each in problem.evaluators.items()},
    # On a CPU, queued steps with collectives can starve each other of threads.
    steps_ahead=0 if mesh.devices.flat[0].platform == 'cpu' else 2,
    peak=_peak(mesh),
  )


def _with_hparams(step: Callable, hparams: PyTree) -> Callable:
  return lambda state, batch, key: step(state, hparams, batch, key)


def _of_one(evaluator: Callable) -> Callable:
  return lambda params, aux, progress: [evaluator(params, aux, progress)]


def _placed(x: Any, place: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)


def _peak(mesh: jax.sharding.Mesh) -> float | None:
  # Devices are taken to be of one kind; for an unknown kind no utilisation is shown.
  one = flops.peak(mesh.devices.flat[0].device_kind)
  return one and one * mesh.devices.size
