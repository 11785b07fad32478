"""How runs are started."""

import os

from mlm_jax import config
from mlm_jax.sweeps import launchers
from mlm_jax.training import workdir as workdir_lib


def test_a_run_is_told_to_end_with_the_process_that_starts_it(tmp_path, monkeypatch):
  commands = []
  monkeypatch.setattr(launchers.subprocess, 'Popen', lambda command, **_: commands.append(command))
  workdir_lib.write_config(tmp_path, config.base())
  launchers.Local().start(tmp_path)
  (command,) = commands
  assert command[2:4] == ['mlm_jax', 'train'] and f'--stop-with={os.getpid()}' in command
