"""The commands of `mlm-jax`, one module each: flags -> config -> one call.

A module's docstring is its --help, `add_arguments(parser)` adds its flags, `run(args)` does the
work. Modules with an underscore are not commands. What a command needs is imported inside `run`,
so that --help and a mistyped flag do not wait seconds for JAX.
"""
