"""Two virtual CPU devices, one shared compilation cache, no rank promotion."""

import os
import pathlib

os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=2'
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax

jax.config.update('jax_compilation_cache_dir',
                  str(pathlib.Path(__file__).parent.parent / '.cache' / 'jax'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)
jax.config.update('jax_numpy_rank_promotion', 'raise')
