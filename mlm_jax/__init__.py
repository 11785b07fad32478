"""mlm_jax: masked language modelling in JAX."""


def open_run(workdir, step=None):
  """Returns the run in a work directory, opened for use; see mlm_jax.inference.predictor."""
  from mlm_jax.inference import predictor  # here, so that `import mlm_jax` stays quick

  return predictor.open_run(workdir, step)
