"""The examples of fine-tuning: from the files that a config names to prepared splits."""

from collections.abc import Callable
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import held_out as held_out_lib
from mlm_jax.data.examples import store
from mlm_jax.evaluation import examples as examples_lib

Config = Any
Log = Callable[[str], None]


def data_settings(config: Config) -> dict[str, Any]:
  """Returns {dotted key: value} of what decides about the prepared examples, but the tokenizer."""
  ignored = (
    *('data.prepared', 'data.tokenizer', 'data.tokenizer_threads', 'task.from_scratch'),
    *downstream.of_training(downstream.load(config.task.name)),
  )
  flat = config_lib.flatten({name: config[name].to_dict() for name in ('task', 'data')})
  learned = ('task.freeze', 'task.lora.')
  return {
    key: value for key, value in flat.items() if key not in ignored and not key.startswith(learned)
  }


def prepare(
  config: Config, workdir: str | pathlib.Path, tokenizer: tokenizers.Tokenizer, log: Log = print
) -> store.Prepared:
  """Returns the prepared examples of a run, made where they are missing.

  Raises:
    UserError: whatever is wrong with the files, or a folder that cannot be used.
  """
  folder = pathlib.Path(config.data.prepared or pathlib.Path(workdir) / 'data')
  kind = downstream.load(config.task.name)
  named = [
    config.task[name] for name in ('train', examples_lib.VALIDATION, 'test') if config.task[name]
  ]
  files = [each for path in dict.fromkeys(named) for each in downstream.files(kind, path)]
  make = lambda: _encode(config, tokenizer, log)
  return store.prepare(folder, data_settings(config), files, tokenizer, make, log)


def _encode(
  config: Config, tokenizer: tokenizers.Tokenizer, log: Log
) -> tuple[dict, dict[str, store.Encoded]]:
  """Returns (facts, {split: Encoded}) of the files that the config names."""
  kind = downstream.load(config.task.name)
  splits = splits_of(config)
  facts = kind.facts(config.task, splits['train'])
  _warn_of_shared(kind, splits, log)
  return facts, {
    name: kind.encode(examples, config, tokenizer, facts) for name, examples in splits.items()
  }


def splits_of(config: Config) -> dict[str, list[Any]]:
  """Returns {split: its examples}: train, validation and, where the config names one, test."""
  task, kind = config.task, downstream.load(config.task.name)
  if (own := downstream.splits(kind, task)) is not None:
    return own
  training = kind.read(task.train, task)
  if task.validation:
    splits = {'train': training, examples_lib.VALIDATION: kind.read(task.validation, task)}
  else:
    groups = [downstream.group_of(kind, n, each) for n, each in enumerate(training)]
    held_out = held_out_lib.held_out(
      groups, task.validation_fraction, task.train, examples_lib.VALIDATION
    )
    splits = {
      'train': [each for n, each in enumerate(training) if n not in held_out],
      examples_lib.VALIDATION: [each for n, each in enumerate(training) if n in held_out],
    }
  return splits | ({'test': kind.read(task.test, task)} if task.test else {})


def _warn_of_shared(task: downstream.Task, splits: dict[str, list[Any]], log: Log) -> None:
  """Says how many examples of validation and test are in training too."""
  seen = {task.key(each) for each in splits['train']}
  for name, examples in splits.items():
    shared = sum(task.key(each) in seen for each in examples) if name != 'train' else 0
    if shared:
      log(
        f'warning: {shared:,} of the {len(examples):,} {name} examples are training examples too: '
        'their scores say little of others'
      )
