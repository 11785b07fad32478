"""The run that another one starts from: config.init_from gives what a config leaves open.

A recipe for a model that is trained already knows neither the model nor its tokenizer. It leaves
both open, as '', and the config of the run in init_from has them, in full.
"""

import pathlib

from mlm_jax.config import defaults
from mlm_jax.config import keys
from mlm_jax.config import reading
from mlm_jax.config import saved
from mlm_jax.config.keys import Config
from mlm_jax.config.keys import UserError

# What goes with a tokenizer: how a text was cleaned that the model has seen.
_CLEANING = ('unicode', 'control_characters', 'boundary_mark', 'white_space')


def is_open(config: Config) -> bool:
  """Whether the model or the tokenizer is still to come from the run in init_from."""
  return not (config.model.family and config.data.tokenizer)


def fill(config: Config) -> None:
  """Sets, in place, what a config leaves open from the config.json of the run in its init_from.

  Settings of the group `model` that differ from their defaults are kept.

  Raises:
    UserError: no run there, or one whose config cannot be read.
  """
  if not config.init_from or not is_open(config):
    return
  folder = pathlib.Path(config.init_from)
  path = folder / 'config.json'
  if not path.is_file():
    raise UserError(f'config.init_from = {config.init_from}: no run there: {path} is missing')
  theirs = saved.from_json(reading.read_bytes(path), str(path))
  if not config.model.family:
    own = _changed(config.model) - {'family'}
    for key, value in keys.flatten(theirs.model).items():
      if key not in own:
        group, name = keys.find(config.model, key)
        group[name] = value
  if not config.data.tokenizer:
    # Its file, also where the run has trained it: trained again, on other text, it would differ.
    config.data.tokenizer = str(folder / saved.TOKENIZER)
    config.data.update({name: theirs.data[name] for name in _CLEANING})


def check(config: Config) -> None:
  """Raises UserError where no run gives what the config leaves open."""
  if is_open(config):
    key = 'data.tokenizer' if config.model.family else 'model.family'
    raise UserError(
      f"config.init_from = '': must be the folder of a run, which config.{key} = '' is to be taken "
      'from (mlm-jax import makes one of a Hugging Face folder)'
    )


def _changed(model: Config) -> set[str]:
  """Returns the settings of the group `model` that differ from their defaults."""
  unchanged = {key.removeprefix('model.'): value for key, value in defaults.flat().items()}
  return {key for key, value in keys.flatten(model).items() if value != unchanged[key]}
