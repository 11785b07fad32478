"""What `mlm-jax bench NAME` measures: each module has add_arguments(parser) and run(args)."""
