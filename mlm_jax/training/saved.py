"""What a run's folder holds of its model: the config and a checkpoint, read and left alone."""

from collections.abc import Callable
import dataclasses
import os
import pathlib
import sys
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax.core import compilation_cache
from mlm_jax.core import trees
from mlm_jax.models import low_rank
from mlm_jax.training import checkpoint
from mlm_jax.training import own_code
from mlm_jax.training import workdir as workdir_lib

PyTree = Any
TO_STDERR = lambda line: print(line, file=sys.stderr)  # whatever that is by then


@dataclasses.dataclass(frozen=True)
class SavedModel:
  """A checkpoint of a run.

  Attributes:
    workdir: the run's folder.
    config: the run's, of the model without adapters where it was trained with them.
    step: of the checkpoint.
    params: as they were trained, on one device; low-rank adapters are merged into their kernels.
    aux: what was learned besides, see step.TrainState.
    fingerprints: of the run's first start, see problem.Problem; {} where it has none.
  """

  workdir: pathlib.Path
  config: Any
  step: int
  params: PyTree
  aux: PyTree
  fingerprints: dict[str, str]

  def check_params(self, init: Callable, what: str) -> None:
    """Raises UserError unless the parameters have the shapes of those of init(key).

    Args:
      init: (key) -> params.
      what: the checkpoint does not fit, for the message.
    """
    expected = jax.eval_shape(init, jax.random.key(0))  # shapes alone: nothing is computed
    shapes = lambda tree: jax.tree.map(lambda x: x.shape, tree)
    if shapes(self.params) != shapes(expected):
      raise config_lib.UserError(f'{self.workdir}: the checkpoint does not fit {what}')


def open_model(
  workdir: str | os.PathLike[str],
  step: int | None = None,
  log: Callable[[str], None] = TO_STDERR,
) -> SavedModel:
  """Returns the newest intact checkpoint of the run in workdir, or the one at `step`.

  Args:
    workdir: the run's folder.
    step: of the checkpoint; None for the run's model: the newest one, or the best of a run that
      keeps it.
    log: is told of broken checkpoints that were passed over.

  Raises:
    UserError: no run there, no such step, or no intact checkpoint.
  """
  workdir = pathlib.Path(workdir)
  config = config_lib.with_own_tokenizer(workdir_lib.read_config(workdir), workdir)
  compilation_cache.use(config.compilation_cache, log)
  # Of the first start: later ones were refused unless theirs were the same.
  fingerprints = (workdir_lib.read_environment(workdir) or [{}])[0]
  if diverged := workdir_lib.diverged(workdir):
    log(f'warning: {workdir} has diverged at {diverged["reason"]}')
  for line in own_code.differing(workdir, config):
    log(f'warning: {line}')
  step = workdir_lib.model_step(workdir) if step is None else step
  step, params, aux = checkpoint.read_model(workdir / 'checkpoints', step, log)
  try:
    config, params = low_rank.without(config, params)
  except ValueError as error:
    raise config_lib.UserError(
      f'{workdir}: the checkpoint does not fit config.json: {error}'
    ) from None
  return SavedModel(workdir, config, step, params, aux, fingerprints)


def matching(
  params: PyTree, given: PyTree, needed: tuple[str, ...]
) -> tuple[dict[str, jax.Array], list[str]]:
  """Returns ({path: leaf} of `given` that `params` has too, the paths that it has not).

  Args:
    params: nested dict of what has a shape.
    given: nested dict of arrays; what it has besides is not taken.
    needed: names at the top of `params` below which every leaf must be given.

  Raises:
    ValueError: a needed leaf is missing in `given`, or a leaf has another shape there.
  """
  # By path and not by structure: a checkpoint may have more, such as other heads.
  ours, theirs = trees.paths(params), trees.paths(given)
  new = [path for path in ours if path not in theirs]
  for path, leaf in ours.items():
    there = theirs[path].shape if path in theirs else 'missing'
    if there != leaf.shape and (path in theirs or path.split('/')[0] in needed):
      raise ValueError(f'{path} is {there} there, {leaf.shape} here')
  return {path: theirs[path] for path in ours if path in theirs}, new
