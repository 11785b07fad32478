"""Fine-tuning for classification: examples a second of ours and of transformers' Trainer.

Both (ours in JAX, the Trainer in PyTorch) train BERT of one size on the same short examples, as
many a step: ours packs several to a row, the Trainer's are padded to the longest of a step, in the
order of a shuffle, and also with examples of similar length together (train_sampling_strategy =
'group_by_length'). Lengths are spread as those of SST-2: log-normal, 10 pieces in the middle, at
most 64. A call is a pass over the examples, with the loading of batches, clipping and AdamW, and no
logs, evaluation and checkpoints. They take turns, each in its own process that is pinned to the
same cores; the ratios are of processor time on a CPU, of wall time on an accelerator.
"""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import importlib.util
import os
import tempfile
import types
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.benchmarks import clock
from mlm_jax.benchmarks import contestants
from mlm_jax.benchmarks import workers
from mlm_jax.core import rng
from mlm_jax.data import loader
from mlm_jax.data.examples import store
from mlm_jax.objectives import classification
from mlm_jax.objectives import finetuning
from mlm_jax.training import compiled as compiled_lib
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding

_OURS, _LABELS = 'ours, packed', 2
_PAD, _CLS, _SEP = 0, 2, 3
_MEDIAN, _SPREAD, _MOST = 10, 0.75, 64  # pieces of an example
_SIZES = ('layers', 'width', 'vocabulary', 'batch', 'length', 'examples')


@dataclasses.dataclass(frozen=True)
class Work:
  """The sizes of the encoder and the examples.

  Attributes:
    batch: examples a step.
    length: of a row of ours.
    examples: a pass.
  """

  layers: int
  width: int
  vocabulary: int
  batch: int
  length: int
  examples: int
  dropout: float

  @property
  def heads(self) -> int:
    return max(1, self.width // 64)

  @property
  def config(self) -> Any:
    """The resolved config of ours; UserError for sizes that cannot work."""
    c = config_lib.finetuning()
    c.total_steps, c.data.row_length = 1 << 20, self.length
    c.model.update(
      family='bert',
      layers=self.layers,
      width=self.width,
      heads=self.heads,
      feed_forward=4 * self.width,
      dropout=self.dropout,
      max_positions=max(self.length, 512),
    )
    models.resolve(c.model)
    config_lib.check(c)
    return c

  def tokens(self) -> list[np.ndarray]:
    """Returns the tokens of each example: [CLS] pieces [SEP], drawn anew from one seed."""
    random = np.random.default_rng(0)
    sizes = np.round(random.lognormal(np.log(_MEDIAN), _SPREAD, self.examples)).astype(int)
    return [
      np.array([_CLS, *random.integers(5, self.vocabulary, size), _SEP], np.int32)
      for size in sizes.clip(1, min(_MOST, self.length - 2))
    ]

  def labels(self) -> np.ndarray:
    return np.random.default_rng(1).integers(_LABELS, size=self.examples).astype(np.int32)


def ours(work: Work) -> Callable[[int], None]:
  """Returns task(passes) of ours."""
  config, pieces = work.config, types.SimpleNamespace(pad_id=_PAD, size=work.vocabulary)
  tokenizer: Any = pieces
  name = classification.LABEL
  encoded = store.Encoded([], work.tokens(), {name: work.labels()}, {name: -1})
  prepared = store.in_memory(encoded, tokenizer, config.data)
  rows = len(prepared.splits[store.IN_MEMORY])
  # As many examples a step as theirs, on average.
  batch = min(rows, max(1, round(work.batch * rows / work.examples)))
  made = loader.Loader(prepared, store.IN_MEMORY, batch, seed=0)
  encoder = models.make(config.model, work.vocabulary)
  head = models.sequence_head(config.model, encoder.architecture, _LABELS)
  objective = finetuning.Objective(
    encoder, classification.ClassificationHead(head, 'cls'), _PAD, _SEP
  )
  with config.unlocked():
    config.batch_size = batch
  stage = problem_lib.Stage(0, config, objective, {}, made.batch, made.examples)
  problem = problem_lib.Problem((stage,), objective.init, {}, problem_lib.Ranking('', ''))
  compiled = compiled_lib.compile_problem(problem, config, sharding.largest_mesh(1))
  key = rng.root_key(0)
  state, step, done = compiled.init(key), 0, 0

  def task(passes: int) -> None:
    nonlocal state, step, done
    # A pass ends inside of a batch, so that whole passes are counted and nothing is left out.
    done += passes * rows
    while step * batch < done:
      state, _ = compiled.steps[0](state, compiled.batch(step), key)
      step += 1
    jax.block_until_ready(state)

  return task


def trainer(work: Work) -> Callable[[int], None]:
  """Returns task(passes) of transformers' Trainer."""
  return _trainer(work)


def trainer_by_length(work: Work) -> Callable[[int], None]:
  """Returns task(passes) of transformers' Trainer with examples of similar length in a step."""
  return _trainer(work, train_sampling_strategy='group_by_length')


def _trainer(work: Work, **settings: Any) -> Callable[[int], None]:
  import torch
  import transformers

  model = transformers.BertForSequenceClassification(
    transformers.BertConfig(
      vocab_size=work.vocabulary,
      hidden_size=work.width,
      num_hidden_layers=work.layers,
      num_attention_heads=work.heads,
      intermediate_size=4 * work.width,
      max_position_embeddings=work.config.model.max_positions,
      hidden_dropout_prob=work.dropout,
      attention_probs_dropout_prob=work.dropout,
      num_labels=_LABELS,
    )
  )
  examples = [
    {'input_ids': tokens.tolist(), 'labels': int(label)}
    for tokens, label in zip(work.tokens(), work.labels(), strict=True)
  ]

  def collate(chosen: list[dict[str, Any]]) -> dict[str, Any]:
    # As DataCollatorWithPadding does, which needs a tokenizer.
    size = [len(each['input_ids']) for each in chosen]
    ids_BL = torch.full((len(chosen), max(size)), _PAD)
    for b, each in enumerate(chosen):
      ids_BL[b, : size[b]] = torch.tensor(each['input_ids'])
    mask_BL = (torch.arange(max(size)) < torch.tensor(size)[:, None]).long()
    labels_B = torch.tensor([each['labels'] for each in chosen])
    return {'input_ids': ids_BL, 'attention_mask': mask_BL, 'labels': labels_B}

  transformers.logging.set_verbosity_error()
  folder = tempfile.TemporaryDirectory()  # it writes nothing, but asks for a place

  def task(passes: int) -> None:
    arguments = transformers.TrainingArguments(
      folder.name,
      num_train_epochs=passes,
      per_device_train_batch_size=work.batch,
      save_strategy='no',
      logging_strategy='no',
      report_to='none',
      disable_tqdm=True,
      dataloader_pin_memory=torch.cuda.is_available(),
      **settings,
    )
    made = transformers.Trainer(model, arguments, data_collator=collate, train_dataset=examples)
    made.remove_callback(transformers.PrinterCallback)
    made.train()

  return task


# {name: (function that makes its task, packages that it needs)}.
_CONTESTANTS = {
  _OURS: (ours, ('jax',)),
  'Trainer': (trainer, ('torch', 'transformers', 'accelerate')),
  'Trainer, by length': (trainer_by_length, ('torch', 'transformers', 'accelerate')),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  number = lambda name, default, text: parser.add_argument(
    f'--{name}', type=type(default), default=default, help=f'{text} (default {default})'
  )
  number('layers', 4, 'of the encoder')
  number('width', 256, 'of the encoder; a head for every 64')
  number('vocabulary', 8192, 'ids')
  number('batch', 32, 'examples a step')
  number('length', 128, 'tokens a row of ours')
  number('examples', 512, 'a pass')
  number('dropout', 0.1, 'of both')
  number('cores', 1, 'of the processor, for each when its turn comes')
  number('repetitions', 5, 'turns each gets')


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Prints how many times faster ours is, then the table; returns the numbers."""
  os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'  # all share an accelerator's memory
  if args.width % max(1, args.width // 64):
    raise config_lib.UserError(f'--width={args.width}: must be below 64 or a multiple of 64')
  if args.vocabulary < 300 or args.length < 8 or args.examples < args.batch:
    raise config_lib.UserError(
      f'--vocabulary={args.vocabulary}, --length={args.length}, --examples={args.examples}: must '
      f'be at least 300, 8 and --batch={args.batch}'
    )
  work = Work(**{name: getattr(args, name) for name in (*_SIZES, 'dropout')})
  config_lib.check(work.config)  # refuses the rest
  has = lambda packages: all(map(importlib.util.find_spec, packages))
  makers = {name: make for name, (make, packages) in _CONTESTANTS.items() if has(packages)}
  print(
    f'{work.layers} layers x {work.width}, {work.vocabulary} ids, dropout {work.dropout:g}; '
    f'{work.examples} examples, {work.batch} a step, rows of {work.length} tokens'
  )
  found = _measure(work, makers, args.cores, args.repetitions)
  print('\n'.join(report(found)))
  if missing := [name for name in _CONTESTANTS if name not in makers]:
    print(f'Not installed: {"; ".join(missing)}. `make bench` brings all.')
  return {'versions': clock.versions(), **found}


def _measure(
  work: Work, makers: Mapping[str, Callable], cores: int, repetitions: int
) -> dict[str, dict[str, float]]:
  team = {}
  available = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else [0]
  if cores > len(available):
    raise config_lib.UserError(f'--cores={cores}: must be at most {len(available)}')
  try:
    for name, make in makers.items():
      team[name] = workers.Worker(make, (work,), available[-cores:])
    timer = lambda worker, calls: worker.time(calls)
    times = clock.take_turns(team, repetitions, turn=1.0, timer=timer)
    memory = {name: worker.do(contestants.peak_memory) for name, worker in team.items()}
  except workers.Failed as error:
    raise config_lib.UserError(f'a contestant failed: {error}') from None
  finally:
    for worker in team.values():
      worker.close()
  return measured(times, work.examples, memory)


def measured(
  times: Mapping[str, clock.Times], examples: int, memory: Mapping[str, float]
) -> dict[str, dict[str, float]]:
  """Returns {name: {what: number}}, how many times faster ours is among them.

  Args:
    times: {name: clock.Times} a pass.
    examples: a pass.
    memory: {name: MB}.
  """
  by_processor = jax.default_backend() == 'cpu'
  spent = {name: each.processor_R if by_processor else each.wall_R for name, each in times.items()}
  return {
    name: {
      'ours is faster by': clock.ratio(spent_R, spent[_OURS]),
      f'examples/{"processor-" if by_processor else ""}s': examples / float(np.median(spent_R)),
      'examples/s, wall': examples / float(np.median(times[name].wall_R)),
      'memory, MB': memory[name],
    }
    for name, spent_R in spent.items()
  }


def report(found: Mapping[str, Mapping[str, float]]) -> list[str]:
  """Returns a line for each of what `measured` found, under a line of headings."""
  heads = list(found[_OURS])
  lines = [' ' * 20 + ''.join(f'{head:>22}' for head in heads)]
  for name, numbers in found.items():
    lines.append(f'{name:<20}' + ''.join(f'{numbers[head]:>22.4g}' for head in heads))
  return lines
