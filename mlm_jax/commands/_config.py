"""The flags by which every command takes a config."""

from mlm_jax import config


def add_arguments(parser):
  parser.add_argument('--config', metavar='FILE[:VARIANT]',
                      help='a recipe, or the config.json of a run; single settings follow as '
                           '--config.KEY=VALUE')


def read(args):
  """Returns the config that the flags describe, checked."""
  if args.config is None:
    return config.override(config.base(), args.overrides)
  return config.load(args.config, args.overrides)
