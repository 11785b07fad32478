"""The flags by which every command takes a config."""

import argparse
from collections.abc import Mapping
from typing import Any

from mlm_jax import config


def add_key(parser: argparse.ArgumentParser) -> None:
  """Adds the argument that names a setting or a group."""
  parser.add_argument(
    'key', metavar='KEY', nargs='?', help='a setting, such as masking.rate, or a group of them'
  )


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flag that names a config."""
  parser.add_argument(
    '--config',
    metavar='RECIPE[:VARIANT]',
    help='the name of a recipe (mlm-jax config --list), the file of one, or the config.json of a '
    'run; single settings follow as --config.KEY=VALUE',
  )
  add_allow_code(parser)


def add_allow_code(parser: argparse.ArgumentParser) -> None:
  """Adds the flag that allows code that the config.json of a run names."""
  parser.add_argument(
    '--allow-code',
    metavar='MODULE:NAME',
    action='append',
    default=[],
    help='execute this code, which the config.json of a run names; only with this flag it is',
  )


def read(args: argparse.Namespace) -> config.Config:
  """Returns the config that the flags describe, checked."""
  if args.config is None:
    return config.override(config.base(), args.overrides)
  return config.load(args.config, args.overrides, args.allow_code)


def check_pretraining(args: argparse.Namespace, given: config.Config, command: str) -> None:
  """Raises UserError where a config fine-tunes; `command` is what is of pretraining alone."""
  if 'task' in given:
    raise config.UserError(
      f'{command} is of pretraining, and --config={args.config} fine-tunes: mlm-jax finetune '
      'prepares its examples itself'
    )


def add_policy(parser: argparse.ArgumentParser, purpose: str) -> None:
  """Adds the flags that describe a masking policy; `purpose` begins the text of --help."""
  parser.add_argument(
    '--policy',
    metavar='NAME',
    help=f'{purpose}: a preset ({", ".join(config.PRESETS)}); single settings follow as '
    '--config.masking.KEY=VALUE',
  )
  parser.add_argument(
    '--config', metavar='RECIPE[:VARIANT]', help='a recipe or the config.json of a run: its policy'
  )
  add_allow_code(parser)


def policy(args: argparse.Namespace, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
  """Returns the settings of the masking policy that the flags describe.

  `own`, {name: value}, are settings of that group that the single settings of the flags change.

  Raises:
    UserError: a flag that sets something else, or settings that cannot work.
  """
  for key, _ in args.overrides:
    if key != 'masking' and not key.startswith('masking.'):
      raise config.UserError(f'--config.{key}: only --config.masking.KEY=VALUE decides here')
  base = config.base()
  if args.config:
    named = [*args.allow_code, *(text for _, text in args.overrides)]
    # The policy that the run has in the end.
    base = config.final_stage(config.load(args.config, allow_code=named))
    if 'task' in base:
      raise config.UserError(f'--config={args.config} fine-tunes, which masks nothing')
  base = base.copy_and_resolve_references()
  # Whether there are collocations and classes is asked of the data, which the flags do not name.
  with base.unlocked():
    base.data.update(collocations=1, classes='any')
  preset = [('masking', args.policy)] if args.policy else []
  # As text, like the flags, so that all are applied and checked together.
  own_texts = [(f'masking.{name}', str(value)) for name, value in (own or {}).items()]
  return config.override(base, [*preset, *own_texts, *args.overrides]).masking.to_dict()
