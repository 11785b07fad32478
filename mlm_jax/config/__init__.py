"""The config: one commented default that every recipe starts from, checked before any work starts.

settings   every setting, with its meaning
defaults   the default configs, made of them
keys       settings named by dotted keys
limits     what each setting may be
checks     what cannot work
custom     a researcher's own functions and classes
registered what units, selections and schedules there are
presets    masking policies of published systems
staging    the config of each stage of a run
recipes    configs from files, changed on the command line
shipped    the recipes that come with the package
variants   their small variant
initial    the model and the tokenizer of the run that another one starts from
meanings   what each setting means and may be, in words
synonyms   what others call the settings
reading    files and JSON that came from somewhere
saved      configs as JSON, and the differences between two of them
changes    which settings may differ when a run goes on

The package is also a function, for programs and notebooks:

  config = mlm_jax.config('novels_small', {'seed': 1, 'masking.rate': 0.3})
"""

from collections.abc import Collection
from collections.abc import Mapping
import os
import sys
import types
from typing import Any

from mlm_jax.config import keys
from mlm_jax.config.changes import ANYTIME
from mlm_jax.config.changes import SCHEDULE
from mlm_jax.config.changes import why_refused
from mlm_jax.config.checks import check
from mlm_jax.config.custom import check_allow_code
from mlm_jax.config.custom import check_allowed
from mlm_jax.config.custom import check_spec
from mlm_jax.config.custom import error_text
from mlm_jax.config.custom import imported
from mlm_jax.config.custom import own_code
from mlm_jax.config.custom import source
from mlm_jax.config.defaults import adaptation
from mlm_jax.config.defaults import base
from mlm_jax.config.defaults import finetuning
from mlm_jax.config.defaults import kind as kind_of
from mlm_jax.config.defaults import of as default_of
from mlm_jax.config.initial import check as check_initial
from mlm_jax.config.initial import is_open
from mlm_jax.config.keys import Config
from mlm_jax.config.keys import Fatal
from mlm_jax.config.keys import UserError
from mlm_jax.config.keys import as_tuples
from mlm_jax.config.keys import check_folder
from mlm_jax.config.keys import find
from mlm_jax.config.keys import flatten
from mlm_jax.config.keys import is_config
from mlm_jax.config.keys import is_number
from mlm_jax.config.keys import one_line
from mlm_jax.config.keys import unknown_key
from mlm_jax.config.presets import PRESETS
from mlm_jax.config.presets import settings as preset_settings
from mlm_jax.config.reading import check_file
from mlm_jax.config.reading import parse_json
from mlm_jax.config.reading import read_bytes
from mlm_jax.config.reading import read_json
from mlm_jax.config.reading import without_waiting
from mlm_jax.config.recipes import call
from mlm_jax.config.recipes import load
from mlm_jax.config.recipes import masking
from mlm_jax.config.recipes import overlay
from mlm_jax.config.recipes import override
from mlm_jax.config.registered import choices
from mlm_jax.config.registered import needs as data_needs
from mlm_jax.config.saved import TOKENIZER
from mlm_jax.config.saved import conflicts
from mlm_jax.config.saved import differences
from mlm_jax.config.saved import from_json
from mlm_jax.config.saved import received
from mlm_jax.config.saved import to_json
from mlm_jax.config.saved import with_own_tokenizer
from mlm_jax.config.staging import final_stage
from mlm_jax.config.staging import stages
from mlm_jax.config.variants import vary

__all__ = [
  'ANYTIME',
  'Config',
  'Fatal',
  'PRESETS',
  'SCHEDULE',
  'TOKENIZER',
  'UserError',
  'adaptation',
  'as_tuples',
  'base',
  'call',
  'check',
  'check_allow_code',
  'check_allowed',
  'check_file',
  'check_folder',
  'check_initial',
  'check_spec',
  'choices',
  'conflicts',
  'data_needs',
  'default_of',
  'differences',
  'error_text',
  'final_stage',
  'find',
  'finetuning',
  'flatten',
  'from_json',
  'imported',
  'is_config',
  'is_number',
  'is_open',
  'kind_of',
  'load',
  'masking',
  'one_line',
  'overlay',
  'own_code',
  'override',
  'parse_json',
  'preset_settings',
  'read_bytes',
  'read_json',
  'received',
  'source',
  'stages',
  'to_json',
  'unknown_key',
  'vary',
  'why_refused',
  'with_own_tokenizer',
  'without_waiting',
]


class _CallableModule(types.ModuleType):
  """A package that can be called."""

  def __call__(
    self,
    recipe: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    allow_code: Collection[str] = (),
  ) -> Config:
    """Returns a checked and locked config: a recipe, or the default, with settings laid over it.

    Args:
      recipe: FILE[:variant], or the config.json of a run; None for `base()`.
      settings: {dotted key: value}, of the settings' types; the name of a preset as `masking`.
      allow_code: each module:name of a run's config.json that may be executed, see `load`.

    Raises:
      UserError: no such file, an unknown setting, settings that cannot work, or code that is not
        allowed.
    """
    if recipe is not None:
      keys.check_folder('recipe', recipe)
    if not isinstance(settings, Mapping | None) or not all(
      isinstance(key, str) for key in settings or {}
    ):
      raise UserError('settings must be {dotted key: value}, such as {"masking.rate": 0.3}')
    check_allow_code(allow_code)
    if recipe is None:
      return overlay(base(), settings or {})
    named = [each for each in (settings or {}).values() if isinstance(each, str)]
    return overlay(load(recipe, allow_code=[*allow_code, *named]), settings or {})


# Python looks __call__ up on the class of a module, not in the module, so the class is changed.
sys.modules[__name__].__class__ = _CallableModule
