"""Stages: parts of a run whose config differs in a few settings."""

from collections.abc import Callable
import difflib

from mlm_jax.config import keys
from mlm_jax.config.keys import Config
from mlm_jax.config.keys import UserError

# What a stage may change. All else is fixed for the run: the parameters, the tokenizer and the
# state of the optimizer are carried from one stage into the next.
STAGE_KEYS = (
  'batch_size',
  'grad_accumulation_steps',
  'data.row_length',
  'data.max_segments',
  'data.prepared',
  'masking.rate',
  'masking.corruption_probs',
  'model.head_rows',
  'optim.learning_rate',
)


def stages(config: Config) -> list[tuple[int, Config]]:
  """Returns [(first 0-based step, config)]: the run's config as it is in each of its stages."""
  if 'stages' not in config:  # fine-tuning
    return [(0, config)]
  made, first = [], 0
  for stage in config.stages or ({'steps': config.total_steps},):
    changed = config.copy_and_resolve_references()
    # A stage's config has no stages itself, so that whatever reads it sees one plain run.
    changed.stages = ()
    for key, value in stage.items():
      if key != 'steps':
        group, name = keys.find(changed, key)
        # Wrong types are refused by `check_stages`, in a message that names the stage.
        with group.ignore_type():
          group[name] = keys.as_tuples(value)
    made.append((first, changed))
    first += stage['steps']
  return made


def final_stage(config: Config) -> Config:
  """Returns the config of a run's last stage: that of the finished model and its evaluation."""
  return stages(config)[-1][1]


def check_stages(config: Config, check: Callable[[Config], None]) -> None:
  """Raises UserError for stages that do not make up the run or do not fit the config.

  `check` is what the config of each stage has to pass.
  """
  steps = 0
  for number, stage in enumerate(config.stages):
    name = f'config.stages[{number}]'
    if not isinstance(stage, dict) or type(stage.get('steps')) is not int or stage['steps'] < 1:
      raise UserError(
        f'{name} = {stage!r}: must be a dict with a whole number of steps, such as '
        "{'steps': 1000, 'data.row_length': 512}"
      )
    steps += stage['steps']
    for key in stage:
      if key not in ('steps', *STAGE_KEYS):
        near = difflib.get_close_matches(str(key), STAGE_KEYS, 1)
        what = f'did you mean {near[0]!r}?' if near else f'it may change {", ".join(STAGE_KEYS)}'
        raise UserError(f'{name}: {key!r} is not for a stage to change; {what}')
  if config.stages and steps != config.total_steps:
    raise UserError(
      f'config.total_steps = {config.total_steps}: must be the {steps} steps of config.stages '
      'together'
    )
  for number, (_, stage) in enumerate(stages(config) if config.stages else ()):
    try:
      check(stage)
    except UserError as error:
      raise UserError(f'config.stages[{number}]: {error}') from None
