"""The flags by which every command takes a config."""

from mlm_jax import config


def add_arguments(parser):
  parser.add_argument(
    '--config',
    metavar='FILE[:VARIANT]',
    help='a recipe, or the config.json of a run; single settings follow as --config.KEY=VALUE',
  )


def read(args):
  """Returns the config that the flags describe, checked."""
  if args.config is None:
    return config.override(config.base(), args.overrides)
  return config.load(args.config, args.overrides)


def add_policy(parser, what):
  """Adds the flags that describe a masking policy, which is there for `what`."""
  parser.add_argument(
    '--policy',
    metavar='NAME',
    help=f'{what}: a preset ({", ".join(config.PRESETS)}); single settings follow as '
    '--config.masking.KEY=VALUE',
  )
  parser.add_argument(
    '--config', metavar='FILE[:VARIANT]', help='a recipe or the config.json of a run: its policy'
  )


def policy(args, own=()):
  """Returns the settings of the masking policy that the flags describe, as a dict.

  `own`, [(key, text)], are settings that stand before those of the flags.
  """
  for key, _ in args.overrides:
    if key != 'masking' and not key.startswith('masking.'):
      raise config.UserError(f'--config.{key}: only --config.masking.KEY=VALUE decides here')
  base = config.load(args.config) if args.config else config.base()
  base = base.copy_and_resolve_references()
  with base.unlocked():
    base.data.update(collocations=1, classes='any')  # whether they are there is asked of the data
  preset = [('masking', args.policy)] if args.policy else []
  return config.override(base, [*preset, *own, *args.overrides]).masking.to_dict()
