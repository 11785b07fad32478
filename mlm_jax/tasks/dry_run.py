"""What a pretraining run would be: its shapes, sizes and cost, and its time by a few real steps.

Nothing is written but to a temporary folder. Where the data is not prepared yet, rows of a made-up
language take its place: all shapes are fixed before, so a step takes as long.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import pathlib
import tempfile
import time
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import compilation_cache
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.data import folder as folder_lib
from mlm_jax.data import store
from mlm_jax.tasks import init_from
from mlm_jax.tasks import pretraining
from mlm_jax.training import changes
from mlm_jax.training import checkpoint
from mlm_jax.training import compiled as compiled_lib
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding

_STEPS = 3  # that are timed, behind one that warms up
_WORDS = 50  # of a document of the made-up language, about


@dataclasses.dataclass(frozen=True)
class _Measured:
  """What a stage's step costs.

  Attributes:
    compilation, seconds: of the program, and of a step.
    memory: bytes on a device while a step is computed; 0 where the compiler does not say.
    work: of a step, see problem.Problem.
    predictions: of a step.
  """

  compilation: float
  seconds: float
  memory: int
  work: dict[str, float]
  predictions: float


def lines(config: Any, workdir: str | pathlib.Path) -> Iterator[str]:
  """Yields lines of text about the run that `pretraining.run` would train.

  Raises:
    UserError: what that would raise before its first step; or data that nothing can stand in for.
  """
  config = pretraining.resolve(config)
  compilation_cache.use(config.compilation_cache)
  mesh = sharding.make_mesh(config.mesh)
  changes.check(workdir, config)
  pretraining.check(config, mesh)
  done = max(checkpoint.steps(pathlib.Path(workdir) / 'checkpoints'), default=0)
  if not done:
    init_from.check(config, pretraining.sketch(config))
  with contextlib.ExitStack() as stack:
    prepared, is_stand_in = _data(config, workdir, stack)
    for each in prepared:
      store.needs(each, config.masking)
    if is_stand_in:
      # As large as the tokenizer to come, whatever that of the stand-in is.
      config = config_lib.overlay(config, {'model.vocab_size': pretraining.pieces(config)})
    problem = pretraining.problem(config, prepared, mesh, lambda line: None, is_begun=True)
    compiled = compiled_lib.compile_problem(problem, config, mesh)
    yield from _of_the_model(config, compiled, mesh)
    ends = [*(stage.first for stage in problem.stages[1:]), config.total_steps]
    state, left, flops = compiled.init(rng.root_key(config.seed)), 0.0, 0.0
    for number, (stage, end) in enumerate(zip(problem.stages, ends, strict=True)):
      yield from _of_a_stage(stage, end, prepared[number], is_stand_in)
      state, measured = _measure(problem, number, compiled, mesh, state)
      yield from _of_the_cost(measured, end - stage.first)
      left += measured.seconds * max(end - max(stage.first, done), 0)
      flops += measured.work['model_flops'] * (end - stage.first)
  to_come = max(config.total_steps - done, 0)
  yield (
    f'in all {config.total_steps:,} steps, {flops:.3g} FLOPs; {_time(left)} for the {to_come:,} '
    'steps to come, as measured here, without evaluations, saves and compilation'
  )


def _data(
  config: Any, workdir: str | pathlib.Path, stack: contextlib.ExitStack
) -> tuple[list[store.Prepared], bool]:
  """Returns (the prepared data of each stage, whether it only stands in for the run's own)."""
  folders = [folder_lib.of_stage(config, workdir, each) for _, each in config_lib.stages(config)]
  if all(map(store.finished, folders)):
    return pretraining.prepare_data(config, workdir, lambda line: None), False
  tokens = max(each.batch_size * each.data.row_length for _, each in config_lib.stages(config))
  own = {f'data.{name}': value for name, value in config_lib.base().data.items()}
  kept = ('row_length', 'max_segments', 'packing', 'collocations', 'classes', 'pairs')
  settings = own | {f'data.{name}': config.data[name] for name in kept}
  # Enough rows for a batch; none of the settings that drop documents is kept.
  documents = max(1000, 2 * tokens // _WORDS)
  settings |= {
    'data.source': f'synthetic:4/200/{documents}',
    'data.tokenizer': 'word',
    'data.vocab_size': 300,
    'stages': tuple(
      {key: value for key, value in stage.items() if key != 'data.prepared'}
      for stage in config.stages
    ),
  }
  if 'adapt' in config:  # the size of the table to come is that of all pieces nevertheless
    settings['adapt.new_pieces'] = 0
  folder = stack.enter_context(tempfile.TemporaryDirectory())
  try:
    made = config_lib.overlay(config, settings)
    return pretraining.prepare_data(made, folder, lambda line: None), True
  except config_lib.UserError as error:
    raise config_lib.UserError(
      f'nothing can stand in for this data ({error}): make it first, with mlm-jax prepare'
    ) from None


def _of_the_model(
  config: Any, compiled: compiled_lib.Compiled, mesh: jax.sharding.Mesh
) -> Iterator[str]:
  """Yields what does not depend on the stage: parameters, devices, state."""
  model, params = config.model, compiled.state.params
  parts = ', '.join(f'{name} {trees.count(part):,}' for name, part in params.items())
  yield (
    f'model: {model.family}, {model.layers} layers, width {model.width}, {model.heads} heads: '
    f'{trees.count(params):,} parameters ({parts})'
  )
  axes = ' x '.join(f'{name} {size}' for name, size in mesh.shape.items())
  state = sum(
    int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize
    for x in jax.tree.leaves(compiled.state)
    if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  )
  yield (
    f'devices: {mesh.devices.size} of {mesh.devices.flat[0].device_kind} ({axes}), each with '
    f'{_bytes(state)} of parameters and optimizer'
  )


def _of_a_stage(stage: Any, end: int, prepared: store.Prepared, is_stand_in: bool) -> Iterator[str]:
  """Yields the shapes of a stage, and how often it sees its data."""
  config, mlm = stage.config, stage.objective.mlm
  B, L = config.batch_size, config.data.row_length
  P = mlm.head_rows * L if mlm.predict_all else stage.hparams.cap(mlm.head_rows, L)
  yield (
    f'steps {stage.first + 1:,} to {end:,}: tokens_BL [{B}, {L}], '
    f'starts_BS [{B}, {config.data.max_segments}], at most P = {P:,} predictions for each '
    f'{mlm.head_rows} rows, gradients accumulated over {config.grad_accumulation_steps}'
  )
  if is_stand_in:
    yield '  data: not prepared yet (mlm-jax prepare): rows of a made-up language stand in for it'
  else:
    rows = sum(map(len, prepared.train))
    yield (
      f'  data: {rows:,} rows, which {(end - stage.first) * B / rows:.3g} epochs go over '
      f'({prepared.directory})'
    )


def _measure(
  problem: problem_lib.Problem,
  number: int,
  compiled: compiled_lib.Compiled,
  mesh: jax.sharding.Mesh,
  state: Any,
) -> tuple[Any, _Measured]:
  """Returns (the state after a few steps of the stage of a number, what they cost)."""
  stage = problem.stages[number]
  key = rng.root_key(stage.config.seed)
  hparams = jax.device_put(stage.hparams, sharding.replicated(mesh))
  step: Any = compiled_lib.optimizer_step(stage.objective, stage.config, mesh, compiled.state)
  began = time.perf_counter()
  program = step.lower(compiled.state, hparams, compiled.batch(stage.first), key).compile()
  compilation = time.perf_counter() - began
  memory = program.memory_analysis()
  seconds, sums = [], []
  for n in range(1 + _STEPS):
    batch = compiled.batch(stage.first + n)
    began = time.perf_counter()
    state, metrics = program(state, hparams, batch, key)
    jax.block_until_ready(state)  # else only the dispatch is timed
    seconds.append(time.perf_counter() - began)
    sums.append(jax.device_get(metrics))
  mean = jax.tree.map(lambda *x: np.mean(x), *sums)
  return state, _Measured(
    compilation,
    float(np.median(seconds[1:])),
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
    if memory
    else 0,
    problem.work(mean),
    float(mean['loss'][1]),
  )


def _of_the_cost(measured: _Measured, steps: int) -> Iterator[str]:
  """Yields what a stage's steps cost."""
  work = measured.work
  yield (
    f'  a step: {work["tokens"]:,.0f} tokens, {work["useful_tokens"]:,.0f} of them no padding, '
    f'{measured.predictions:,.0f} predictions, {work["model_flops"]:.3g} FLOPs; '
    f'all: {work["tokens"] * steps:,.0f} tokens'
  )
  memory = f', {_bytes(measured.memory)} of memory on a device' if measured.memory else ''
  yield (
    f'  measured over {_STEPS} steps: {measured.seconds:.3g} s a step{memory}; '
    f'{measured.compilation:.1f} s to compile it'
  )


def _time(seconds: float) -> str:
  """Returns a time as a person reads it."""
  return str(datetime.timedelta(seconds=round(seconds))) if seconds >= 60 else f'{seconds:.2g} s'


def _bytes(number: float) -> str:
  """Returns a number of bytes as a person reads it."""
  return f'{number / 2**30:.3g} GiB' if number >= 2**30 else f'{number / 2**20:.3g} MiB'
