"""A run opened for use, whatever it was trained for."""

from collections.abc import Callable
from collections.abc import Collection
import os
from typing import Any

from mlm_jax.inference import predictor
from mlm_jax.inference import retrieval_run
from mlm_jax.inference import task_run
from mlm_jax.training import saved


def open_run(
  workdir: str | os.PathLike[str],
  step: int | None = None,
  log: Callable[[str], None] = saved.TO_STDERR,
  allow_code: Collection[str] = (),
) -> Any:
  """Returns a predictor.Run, or of a fine-tuned run a task_run.TaskRun; see predictor.open_run."""
  model = saved.open_model(workdir, step, log)
  if 'task' in model.config:
    is_retrieval = model.config.task.name == 'retrieval'
    kind = retrieval_run.RetrievalRun if is_retrieval else task_run.TaskRun
    return task_run.restore(model, log, kind)
  return predictor.restore(model, log, allow_code)
