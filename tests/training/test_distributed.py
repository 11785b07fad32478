"""Two processes on one machine: equal to one with two devices, stopped together, ended clearly."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from mlm_jax import config as config_lib
from mlm_jax.tasks import pretraining
from mlm_jax.training import checkpoint
from mlm_jax.training import distributed
from tests import shared_runs
from tests import toys
from tests.tasks.test_pretraining import train_until
from tests.training import toy

_PROGRAM = (
  'import pathlib, sys\n'
  'from mlm_jax import config\n'
  'from mlm_jax.tasks import pretraining\n'
  'from mlm_jax.training import distributed\n'
  'from tests.training import toy\n'
  'distributed.start()\n'
  'c = config.from_json(pathlib.Path(sys.argv[1]).read_text())\n'
  'log = lambda line: print(line, flush=True)\n'
  'train = {"text": pretraining.run, "toy": toy.train}[sys.argv[3]]\n'
  'try:\n'
  '  complete = train(c, sys.argv[2], log)\n'
  'except config.UserError as error:\n'
  '  sys.exit(f"USER ERROR {error}")\n'
  'sys.exit(0 if complete else 3)\n'
)


@pytest.fixture
def config(tmp_path):
  def make(**settings):
    corpus = toys.write_corpus(tmp_path / 'corpus.txt')
    return toys.training_config(corpus, model__dropout=0.1, **settings)

  return make


def start(config, workdir, slurm=False, others=None, task='text'):
  """Returns the Popen of two processes that train in workdir, each on a device of its own."""
  files = [workdir.with_suffix(f'.{index}.json') for index in range(2)]
  for file, each in zip(files, (config, others or config)):
    file.write_text(config_lib.to_json(each))
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = str(free.getsockname()[1])

  def variables(index):
    if slurm:
      return {
        'SLURM_JOB_ID': '77',
        'SLURM_STEP_NODELIST': 'localhost',
        'SLURM_NTASKS': '2',
        'SLURM_PROCID': str(index),
        'SLURM_LOCALID': str(index),
        'JAX_COORDINATOR_PORT': port,
      }
    return {
      'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}',
      'JAX_NUM_PROCESSES': '2',
      'JAX_PROCESS_ID': str(index),
    }

  flags = os.environ['XLA_FLAGS'].replace('device_count=2', 'device_count=1')
  environment = {
    **os.environ,
    'XLA_FLAGS': flags,
    'JAX_COMPILATION_CACHE_DIR': shared_runs.compilation_cache(),
  }
  return [
    subprocess.Popen(
      [sys.executable, '-c', _PROGRAM, str(files[index]), str(workdir), task],
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      env={**environment, **variables(index)},
    )
    for index in range(2)
  ]


def wait_for_lines(path, lines, running):
  deadline = time.monotonic() + 200
  while not path.exists() or len(path.read_text().splitlines()) < lines:
    assert time.monotonic() < deadline and all(each.poll() is None for each in running)
    time.sleep(0.05)


assert_equal_runs = toy.assert_equal_runs


def jump(learning_rate):
  """Returns settings of a run whose learning rate jumps, so that its loss does and is logged."""
  return dict(
    stages=({'steps': 18}, {'steps': 6, 'optim.learning_rate': learning_rate}),
    total_steps=24,
    optim__clip_norm=0.0,
    evaluation__every=12,
    checkpoint__every=24,
  )


@pytest.mark.parametrize('task', ('toy', pytest.param('text', marks=pytest.mark.slow)))
def test_two_processes_that_slurm_starts_equal_one_with_two_devices_bit_for_bit(
  config, tmp_path, task
):
  """Also in what they say of a loss that jumps, as it does when the rate does."""
  c, train, *reports = {
    'toy': lambda: (toy.config(**jump(30.0)), toy.train, 'weights.json'),
    'text': lambda: (config(**jump(1.0)), pretraining.run, 'slices.json', 'segment_scores.npz'),
  }[task]()
  both = start(c, tmp_path / 'two', slurm=True, task=task)
  outputs = [each.communicate(timeout=300)[0] for each in both]
  assert [each.returncode for each in both] == [0, 0], outputs
  assert 'step 24/24' in outputs[0] and 'step' not in outputs[1]
  assert train(c, tmp_path / 'one', toy.silent)
  assert (tmp_path / 'one' / 'spikes.jsonl').read_text()
  assert_equal_runs(tmp_path / 'one', tmp_path / 'two')
  for name in reports:
    assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'two' / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize('dead, every', ((0, 5), (1, 5), (1, 1)))
def test_when_a_process_dies_the_other_ends_with_a_line_and_the_run_can_be_resumed(
  config, tmp_path, dead, every, monkeypatch
):
  """With a save at every step it dies in one."""
  c = config(total_steps=2000, checkpoint__every=every, evaluation__every=1000)
  both = start(c, tmp_path / 'two')
  wait_for_lines(tmp_path / 'two' / 'metrics.jsonl', 8, both)
  both[dead].kill()
  output = both[1 - dead].communicate(timeout=120)[0]
  both[dead].communicate()
  assert both[1 - dead].returncode != 0
  assert any(
    f'process {1 - dead} of 2 {how}' in output
    for how in (
      'ends: another process is gone',
      'has ended abruptly: it was killed, or another process is gone',
    )
  ), output
  newest = checkpoint.steps(tmp_path / 'two' / 'checkpoints')[-1]
  lines = []
  train_until(c, tmp_path / 'two', newest + 6, monkeypatch, lines.append)
  assert any('resumes at step' in line for line in lines)
  train_until(c, tmp_path / 'one', newest + 6, monkeypatch)
  assert_equal_runs(tmp_path / 'one', tmp_path / 'two')


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_one_saved_step(config, tmp_path):
  both = start(config(total_steps=5000, evaluation__every=5000), tmp_path / 'two')
  wait_for_lines(tmp_path / 'two' / 'metrics.jsonl', 5, both)
  both[1].send_signal(signal.SIGTERM)
  outputs = [each.communicate(timeout=60)[0] for each in both]
  assert [each.returncode for each in both] == [3, 3], outputs
  step = int(outputs[0].split('stopped by SIGTERM at step ')[1].split(',')[0])
  assert checkpoint.steps(tmp_path / 'two' / 'checkpoints')[-1] == step
  assert not checkpoint.verify(tmp_path / 'two' / 'checkpoints' / str(step))


@pytest.mark.slow
def test_processes_with_different_configs_end_with_a_line(config, tmp_path):
  one = start(config(), tmp_path / 'two', others=config(seed=5))
  outputs = [each.communicate(timeout=200)[0] for each in one]
  assert all(
    'USER ERROR process 1 was given another config than process 0' in each for each in outputs
  ), outputs
  assert not (tmp_path / 'two').exists()


@pytest.mark.slow
def test_wrong_input_ends_both_processes_with_the_same_line(config, tmp_path):
  both = start(config(batch_size=100_000), tmp_path / 'two')
  outputs = [each.communicate(timeout=200)[0] for each in both]
  assert all('USER ERROR the corpus is too small for one batch' in each for each in outputs), (
    outputs
  )


SLURM = {'SLURM_STEP_NODELIST': 'node[1-2]', 'SLURM_NTASKS': '8'}


@pytest.mark.parametrize(
  'variables, arguments',
  (
    ({}, None),
    ({'SLURM_NTASKS': '8'}, None),  # a batch script, outside srun
    (SLURM | {'SLURM_STEP_NUM_TASKS': '1'}, None),
    (SLURM, {}),
    (SLURM | {'CUDA_VISIBLE_DEVICES': '0,1,2,3', 'SLURM_STEP_TASKS_PER_NODE': '4(x2)'}, {}),
    (
      SLURM | {'CUDA_VISIBLE_DEVICES': '0,1,2,3', 'SLURM_STEP_TASKS_PER_NODE': '1(x8)'},
      {'local_device_ids': [0, 1, 2, 3]},
    ),
    (
      SLURM | {'CUDA_VISIBLE_DEVICES': '3', 'SLURM_STEP_TASKS_PER_NODE': '4(x2)'},
      {'local_device_ids': [0]},
    ),
    ({'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_MCA_orte_hnp_uri': 'x'}, {}),
    ({'OMPI_COMM_WORLD_SIZE': '1'}, None),
    (
      {'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_COMM_WORLD_RANK': '1', 'JAX_COORDINATOR_ADDRESS': 'a:1'},
      {'coordinator_address': 'a:1', 'num_processes': 2, 'process_id': 1},
    ),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, {}),
    ({'TPU_WORKER_HOSTNAMES': 'localhost'}, None),
    (
      {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '1'},
      {'coordinator_address': 'a:1', 'num_processes': 2, 'process_id': 1},
    ),
  ),
)
def test_a_job_is_read_from_its_schedulers_variables(variables, arguments):
  assert distributed.job(variables) == arguments


@pytest.mark.parametrize(
  'variables, says',
  (
    ({'JAX_NUM_PROCESSES': '2'}, 'JAX_NUM_PROCESSES given; all of JAX_COORDINATOR_ADDRESS, '),
    (
      {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '2'},
      'JAX_PROCESS_ID = 2: must be below JAX_NUM_PROCESSES = 2',
    ),
    (
      {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': 'x', 'JAX_PROCESS_ID': '0'},
      'JAX_NUM_PROCESSES = x: must be a whole number',
    ),
    (
      {'JAX_COORDINATOR_ADDRESS': 'localhost', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '0'},
      'JAX_COORDINATOR_ADDRESS = localhost: must be HOST:PORT',
    ),
    (
      {'JAX_COORDINATOR_ADDRESS': 'a:99999', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '0'},
      'a port below 65536',
    ),
    (SLURM | {'SLURM_NTASKS': 'x'}, 'SLURM_NTASKS = x: must be a whole number'),
    ({'OMPI_COMM_WORLD_SIZE': '2'}, 'set JAX_COORDINATOR_ADDRESS=HOST:PORT too'),
  ),
)
def test_variables_that_do_not_fit_each_other_are_named(variables, says):
  with pytest.raises(config_lib.UserError, match=says):
    distributed.job(variables)
