"""Show the settings: what they mean, what they may be, and how a config sets them.

Example:
  mlm-jax config                     # every setting with its meaning and its default
  mlm-jax config masking             # those of a group
  mlm-jax config masking.rate        # one, and what it may be
  mlm-jax config --list              # the recipes that come with the package
  mlm-jax config --config=bert_base  # every setting of a config; * marks what differs

A config is shown as `mlm-jax train` would write it into the run's config.json: with the numbers of
the model's size, and with what comes from the run in config.init_from.
"""

import argparse

from mlm_jax import config as config_lib
from mlm_jax.cli import _config
from mlm_jax.config import meanings


def add_arguments(parser: argparse.ArgumentParser) -> None:
  _config.add_key(parser)
  _config.add_arguments(parser)
  parser.add_argument('--list', action='store_true', help='show the recipes')


def run(args: argparse.Namespace) -> None:
  from mlm_jax.cli import _settings

  if args.list:
    _settings.show_recipes()
  elif args.config is None and not args.overrides:
    # Settings that pretraining has not are shown as another kind of training has them.
    kinds = (config_lib.base, config_lib.finetuning, config_lib.adaptation)
    has = lambda make: args.key is None or args.key in meanings.meanings(make)
    _settings.show(args.key, next(filter(has, kinds), config_lib.base)())
  else:
    config = _config.read(args)
    if not config_lib.is_open(config):
      # Imports JAX, which takes a second: only where it writes the numbers out.
      from mlm_jax import tasks

      config = tasks.of(config).resolve(config)
    if args.key:
      _settings.show(args.key, config)
    else:
      _settings.show_config(config)
