"""mlm_jax: masked language modelling in JAX."""

def open_run(workdir, step=None):
  """Returns the run in a work directory, opened for use; see mlm_jax.run."""
  from mlm_jax import run   # here, so that `import mlm_jax` stays quick
  return run.open_run(workdir, step)
