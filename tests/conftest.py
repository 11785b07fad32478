"""Two virtual CPU devices, one shared compilation cache, no rank promotion."""

import importlib.metadata
import os
import pathlib

# `JAX_PLATFORMS=cuda pytest FILE` runs a file on an accelerator; those that want two devices fail
# where there is one.
_PLATFORM = os.environ.setdefault('JAX_PLATFORMS', 'cpu')

# Most of the suite's time is compilation, and tiny models need no fast code. The older emitters of
# jaxlib 0.10 compile in a third of the time; jaxlib 0.11 has only the newer ones.
_FLAGS = [
  '--xla_force_host_platform_device_count=2',
  '--xla_backend_optimization_level=0',
  '--xla_cpu_parallel_codegen_split_count=1',
  # XLA ends a process one of whose devices waits 40 s for another: too soon on a busy machine.
  '--xla_cpu_collective_call_terminate_timeout_seconds=300',
]
if importlib.metadata.version('jaxlib').startswith('0.10.'):
  _FLAGS.append('--xla_cpu_use_fusion_emitters=false')
if _PLATFORM == 'cpu':
  os.environ['XLA_FLAGS'] = ' '.join([os.environ.get('XLA_FLAGS', ''), *_FLAGS])

# Of the processes that tests start, too: none of them writes into the user's own cache.
os.environ['JAX_COMPILATION_CACHE_DIR'] = str(
  pathlib.Path(__file__).parent.parent / '.cache' / 'jax'
)

import jax
import pytest

# To write and read a program back takes some 20 ms, so what compiles in a few times that is kept.
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
jax.config.update('jax_numpy_rank_promotion', 'raise')

_PROGRAMS = 1500  # of tiny models: about 2 GB
_compiled = 0


def _count(event, *_, **__):
  global _compiled
  _compiled += event.endswith('backend_compile_duration')


jax.monitoring.register_event_duration_secs_listener(_count)


@pytest.fixture(scope='module', autouse=True)
def programs_do_not_pile_up():
  """Drops compiled programs after a file once there are many.

  The programs of the whole suite would fill a small machine's memory.
  """
  global _compiled
  yield
  if _compiled > _PROGRAMS:
    jax.clear_caches()
    _compiled = 0
