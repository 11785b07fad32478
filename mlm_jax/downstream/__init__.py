"""Downstream tasks: each file in this folder is a kind of them, found by its name.

It says what the examples of such a task are, what predicts on an encoder, and what predictions are
worth. A new kind is a new file with the names that `Task` lists; the choices of config.task.name
are the names of the files here.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import importlib
import pathlib
from typing import Any
from typing import Protocol
from typing import cast

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.data import store as data_store
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import store
from mlm_jax.evaluation import resampling
from mlm_jax.models import low_rank
from mlm_jax.models import text_embedding
from mlm_jax.models.architecture import Architecture
from mlm_jax.objectives import finetuning


class Task(Protocol):
  """What the file of a kind holds. `task` is the config's group of that name.

  A file may hold more: what the functions below say, from `group_of` to `of_training`.

  Attributes:
    Example: dataclass of an example, whose fields JSON can hold.
  """

  Example: type

  def check(self, task: Any) -> None:
    """Raises UserError for settings that cannot work, before any file is read."""
    ...

  def read(self, path: str, task: Any) -> list[Any]:
    """Returns the labelled examples of a file, see data/examples; UserError for what is none."""
    ...

  def stream(self, path: str, task: Any) -> Iterator[Any]:
    """Yields the examples of a file without labels; UserError for what is none."""
    ...

  def unlabelled(self, where: str, given: Any, task: Any) -> Any:
    """Returns an example of what a caller gives, such as a text; UserError for what is none."""
    ...

  def key(self, example: Any) -> Any:
    """Returns what two examples that are the same share, whatever their labels."""
    ...

  def facts(self, task: Any, training: Sequence[Any]) -> dict[str, Any]:
    """Returns what the training examples decide, of JSON's types, such as the labels' names."""
    ...

  def encode(
    self, examples: Sequence[Any], config: Any, tokenizer: tokenizers.Tokenizer, facts: dict
  ) -> store.Encoded:
    """Returns examples as tokens and columns; UserError for labels that are not known."""
    ...

  def head(self, config: Any, architecture: Architecture, facts: dict) -> finetuning.Head:
    """Returns what predicts, on the encoder."""
    ...

  def has_pairs(self, task: Any) -> bool:
    """Whether examples are pairs of texts."""
    ...

  def metrics(self, task: Any) -> dict[str, str]:
    """Returns {metric: 'min' or 'max', which is better}; the first one ranks."""
    ...

  def score(self, outputs: list[dict], examples: Sequence[Any], facts: dict) -> dict[str, float]:
    """Returns {metric: value} of all but the loss.

    Args:
      outputs: see evaluation.examples.Split.outputs.
      examples: those of the split.
      facts: as said.
    """
    ...

  def predictions(
    self, outputs: list[dict], examples: Sequence[Any], facts: dict
  ) -> list[dict[str, Any]]:
    """Returns what predictions.jsonl says of each example, of JSON's types."""
    ...

  def errors(self, predictions: list[dict[str, Any]], facts: dict) -> dict[str, Any]:
    """Returns what test.json says of the errors, from labelled predictions.

    The report has a table of each entry that it knows: `labels` with `confusions`, `per_class` and
    what is called by_...: {row: {column: number}}, and `worst`: [{column: value}].
    """
    ...


def objective(
  config: Any, tokenizer: tokenizers.Tokenizer, facts: dict[str, Any]
) -> finetuning.Objective:
  """Returns the objective of fine-tuning.

  Args:
    config: resolved.
    tokenizer: of the run.
    facts: what the training examples have decided.
  """
  task = load(config.task.name)
  encoder = models.make(config.model, config.model.vocab_size or tokenizer.size)
  return finetuning.Objective(
    encoder,
    task.head(config, encoder.architecture, facts),
    tokenizer.pad_id,
    tokenizer.sep_id,
    task.has_pairs(config.task),
    frozen(config.task),
    low_rank.of(config),
  )


def frozen(task: Any) -> tuple[str, ...]:
  """Returns the regular expressions of the parameters that are not trained.

  Args:
    task: the config's group of that name.
  """
  if not task.lora.rank:
    return tuple(task.freeze)
  return (rf'(?!{finetuning.HEAD}/)(?!{low_rank.PATHS}$).*',)


def restore(
  model: Any, log: Callable[[str], Any]
) -> tuple[tokenizers.Tokenizer, finetuning.Objective, dict[str, Any]]:
  """Returns (tokenizer, objective, facts) of a training.saved.SavedModel that was fine-tuned.

  The facts are also those that the model has decided, see `calibrated`, once a run has ended.

  Raises:
    UserError: the tokenizer or the parameters are not those that the run was trained with, or its
      folder does not say what it predicts.
  """
  path = model.workdir / data_store.TOKENIZER
  tokenizer = tokenizers.load(path)
  if model.fingerprints.get('tokenizer', tokenizer.sha256) != tokenizer.sha256:
    raise config_lib.UserError(f'{path} is not the tokenizer that the run was trained with')
  facts = _read_facts(model.workdir / store.FACTS)
  made = objective(model.config, tokenizer, facts)
  model.check_params(made.init, 'config.json and facts.json')
  return tokenizer, made, facts | _calibration(model, log)


def _calibration(model: Any, log: Callable[[str], Any]) -> dict[str, Any]:
  """Returns the facts that the run's model has decided; {} of a run that has not ended."""
  path = model.workdir / store.CALIBRATION
  if not path.exists():
    return {}
  calibration = config_lib.read_json(path)
  if not isinstance(calibration, dict) or not isinstance(calibration.get('facts'), dict):
    raise config_lib.UserError(f'{path} is damaged; the same training writes it again')
  if calibration.get('step') != model.step:
    log(f'warning: {path} is of step {calibration.get("step")}, the model of {model.step}')
  return calibration['facts']


def _read_facts(path: pathlib.Path) -> dict[str, Any]:
  mend = 'copy it again from the prepared data'
  facts = config_lib.read_json(path, mend)
  if not isinstance(facts, dict):
    raise config_lib.UserError(f'{path} is damaged; {mend}')
  return facts


def group_of(task: Task, number: int, example: Any) -> Any:
  """Returns what examples share that stay together when validation is split off.

  It is what `group(example)` of the file says, such as the context that questions are about; else
  each example is alone.

  Args:
    task: of `load`.
    number: of the example.
    example: as said.
  """
  group = getattr(task, 'group', None)
  return number if group is None else group(example)


def calibrated(
  task: Task, facts: dict[str, Any], validation: Callable[[], tuple[list[dict], Sequence[Any]]]
) -> dict[str, Any]:
  """Returns the facts that the examples of validation decide of a trained model, {} for none.

  It is what `calibrate(facts, validation)` of the file says, such as a threshold.

  Args:
    task: of `load`.
    facts: what the training examples have decided.
    validation: () -> (outputs, examples), see Task.score.
  """
  calibrate = getattr(task, 'calibrate', None)
  return {} if calibrate is None else calibrate(facts, validation)


def sums(
  task: Task, predictions: list[dict[str, Any]], facts: dict[str, Any]
) -> resampling.Sums | None:
  """Returns the sums that the scores of labelled predictions are made of, None where not known.

  It is what `sums(predictions, facts)` of the file says.
  """
  found = getattr(task, 'sums', None)
  return None if found is None else found(predictions, facts)


def embedding(config: Any) -> text_embedding.TextEmbedding | None:
  """Returns how a run of this config makes a vector of a text; None where its task says nothing.

  It is what `embedding(config)` of the file says, such as of a bi-encoder.
  """
  says = getattr(load(config.task.name), 'embedding', None)
  return None if says is None else says(config)


def files(task: Task, path: str) -> list[str]:
  """Returns the files that a path of the config stands for: `files(path)` of the file, where that
  may be a folder.
  """
  found = getattr(task, 'files', None)
  return [path] if found is None else found(path)


def splits(task: Task, settings: Any) -> dict[str, list[Any]] | None:
  """Returns {split: its examples}, `splits(settings)` of the file; None where each is a file to
  read, or a share of the training examples.

  Args:
    task: of `load`.
    settings: the config's group `task`.
  """
  found = getattr(task, 'splits', None)
  return None if found is None else found(settings)


def row_groups(task: Task, rows: data_store.Rows) -> np.ndarray | None:
  """Returns the group of each row to train on, from 0, where no two of one group may be in a batch:
  `row_groups(rows)` of the file. None where any may.
  """
  found = getattr(task, 'row_groups', None)
  return None if found is None else found(rows)


def of_training(task: Task) -> tuple[str, ...]:
  """Returns the settings, as dotted keys, that say how it is trained and not what its examples are:
  `OF_TRAINING` of the file.
  """
  return getattr(task, 'OF_TRAINING', ())


def load(name: str) -> Task:
  """Returns the module of a kind; `name` is a choice of config.task.name."""
  return cast(Task, importlib.import_module(f'{__name__}.{name}'))
