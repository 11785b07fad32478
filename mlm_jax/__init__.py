"""mlm_jax: masked language modelling in JAX.

  config = mlm_jax.config('novels_small:smoke', {'masking.rate': 0.3})
  mlm_jax.train(config, 'runs/mine')
  mlm_jax.open_run('runs/mine').fill('Paris is the capital of [MASK].')

Each call imports what it needs, so that `import mlm_jax` stays quick.
"""

import importlib
import os


def train(config, workdir, log=print, changed_code=False, allow_code=()) -> bool:
  """Trains what a config describes in workdir, from wherever it is; see mlm_jax.tasks.

  Args:
    config: from `mlm_jax.config`, or a recipe's get_config(); None for that of the run in workdir.
    workdir: the run's folder.
    log: takes lines of text.
    changed_code: whether a run may go on with other code of your own than it began with.
    allow_code: with None: each module:name of the run's config.json that may be executed.

  Returns:
    Whether the run is complete; False when a signal stopped it.

  Raises:
    mlm_jax.config.UserError: wrong input; the message says what and how to mend it.
    mlm_jax.training.loop.Diverged: what the run ends with is not finite.
  """
  from mlm_jax import config as config_lib
  from mlm_jax import tasks

  config_lib.check_folder('workdir', workdir)
  config_lib.check_allow_code(allow_code)
  if not callable(log):
    raise config_lib.UserError(f'log = {log!r}: must be a function that takes a line of text')
  if config is None:
    config = config_lib.load(os.path.join(workdir, 'config.json'), allow_code=allow_code)
  if not config_lib.is_config(config):
    raise config_lib.UserError(
      f'config is of type {type(config).__name__}: give what mlm_jax.config or a get_config returns'
    )
  return tasks.of(config).run(config, workdir, log, changed_code=changed_code)


def open_run(workdir, step=None, allow_code=()):
  """Returns the run in a work directory, opened for use; see mlm_jax.inference.opening."""
  from mlm_jax import config as config_lib
  from mlm_jax.inference import opening

  config_lib.check_folder('workdir', workdir)
  config_lib.check_allow_code(allow_code)
  if step is not None and (type(step) is not int or step < 0):
    raise config_lib.UserError(
      f'step = {step!r}: must be a number from 0 on, or None for the newest'
    )
  return opening.open_run(workdir, step, allow_code=allow_code)


def __getattr__(name):
  """Imports a part of the package, such as mlm_jax.masking, when it is first asked for."""
  if name == '__version__':
    # Not above: it imports much, of the working directory too where that is a module's place.
    from importlib import metadata

    return metadata.version('mlm_jax')
  try:
    return importlib.import_module(f'mlm_jax.{name}')
  except ModuleNotFoundError as error:
    if error.name != f'mlm_jax.{name}':
      raise
    raise AttributeError(f'module mlm_jax has no attribute {name!r}') from None
