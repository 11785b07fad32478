"""The config: one commented default that every recipe starts from, checked before any work starts.

defaults   every setting, with its meaning
keys       settings spoken of by dotted keys
checks     what cannot work
registered what units, selections and schedules there are
own        a researcher's own functions and classes
presets    masking policies of published systems
staging    the config of each stage of a run
recipes    configs from files, changed on the command line
saved      configs as JSON, and what two of them differ in
"""

from mlm_jax.config.checks import check
from mlm_jax.config.defaults import base
from mlm_jax.config.defaults import vary
from mlm_jax.config.keys import UserError
from mlm_jax.config.keys import find
from mlm_jax.config.keys import flatten
from mlm_jax.config.keys import is_config
from mlm_jax.config.keys import is_number
from mlm_jax.config.keys import one_line
from mlm_jax.config.own import imported
from mlm_jax.config.own import said
from mlm_jax.config.presets import PRESETS
from mlm_jax.config.presets import settings as preset_settings
from mlm_jax.config.recipes import call
from mlm_jax.config.recipes import load
from mlm_jax.config.recipes import masking
from mlm_jax.config.recipes import overlay
from mlm_jax.config.recipes import override
from mlm_jax.config.registered import choices
from mlm_jax.config.registered import needs as data_needs
from mlm_jax.config.saved import differences
from mlm_jax.config.saved import from_json
from mlm_jax.config.saved import to_json
from mlm_jax.config.staging import stages
