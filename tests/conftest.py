"""Two virtual CPU devices, one shared compilation cache, no rank promotion."""

import os
import pathlib

# Most of the suite's time is compilation, and tiny models need no fast code.
os.environ['XLA_FLAGS'] = ' '.join(
  [
    os.environ.get('XLA_FLAGS', ''),
    '--xla_backend_optimization_level=0',
    '--xla_force_host_platform_device_count=2',
  ]
)
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax
import pytest

jax.config.update(
  'jax_compilation_cache_dir', str(pathlib.Path(__file__).parent.parent / '.cache' / 'jax')
)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)
jax.config.update('jax_numpy_rank_promotion', 'raise')


_files = []


@pytest.fixture(scope='module', autouse=True)
def programs_do_not_pile_up(request):
  """Drops what is compiled behind every sixteenth file: that of the whole suite would fill a small
  machine's memory.
  """
  yield
  _files.append(request.path)
  if len(_files) % 16 == 0:
    jax.clear_caches()
