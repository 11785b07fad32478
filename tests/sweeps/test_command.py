"""`mlm-jax sweep`: the plan, wrong input, and what its own process leaves to the runs."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from mlm_jax import __main__
from mlm_jax import config as config_lib
from mlm_jax.sweeps import budgets
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import plan_text
from mlm_jax.sweeps import progress as progress_lib
from mlm_jax.training import workdir as workdir_lib
from tests import toys
from tests.sweeps import actors
from tests.sweeps import experiments

_BODY = (
  "return sweeps.Sweep(base=toys.config(), question='Does the rate matter?', runs=sweeps.product(\n"
  "    sweeps.param('masking.rate', [0.15, 0.3]), sweeps.seeds({seeds})), budget='tokens')"
)


def call(capsys, *argv):
  """Returns (exit status, stdout, stderr)."""
  status = 0
  try:
    __main__.main([*map(str, argv)])
  except SystemExit as exit:
    status = exit.code
  captured = capsys.readouterr()
  return status, captured.out, captured.err


@pytest.mark.parametrize(
  'body, flags, says',
  (
    (None, (), 'sweep.py is missing'),
    ('return 3', (), 'get_sweep returned 3'),
    ("return sweeps.Sweep(base=3, runs=[{}], question='?')", (), 'base = 3: must be a config'),
    (
      "return sweeps.Sweep(base=config.base(), runs=[{'rate': .3}], question='?')",
      (),
      'run rate=0.3_seed=0: unknown setting config.rate; did you mean config.masking.rate?',
    ),
    (
      "return sweeps.Sweep(base=config.base(), runs=[{}, {}], question='?')",
      (),
      'two runs have the name base_seed=0',
    ),
    (
      "return sweeps.Sweep(base=toys.config(data__source='text:absent'), runs=[{}], question='?')",
      (),
      'run base_seed=0: ',
    ),
    (_BODY.format(seeds=2), ('--jobs=0',), '--jobs=0: must be between 1'),
    (_BODY.format(seeds=2), ('--launcher=slurm',), "argument --launcher: invalid choice: 'slurm'"),
    (_BODY.format(seeds=2), ('--cpus-per-run=0',), '--cpus-per-run=0: must be between 1'),
    (_BODY.format(seeds=2), ('--config.seed=3',), 'unknown argument --config.seed=3'),
  ),
)
def test_wrong_input_is_one_line_and_leaves_nothing(capsys, tmp_path, body, flags, says):
  experiment = tmp_path / 'experiment'
  if body:
    experiments.write(experiment, body)
  status, _, err = call(capsys, 'sweep', experiment, f'--workdir={tmp_path / "sweep"}', *flags)
  assert status == 2 and says in err and err.count('\n') == 1
  assert not (tmp_path / 'sweep').exists()


def test_the_plan_says_what_each_arm_costs_and_starts_nothing(capsys, tmp_path):
  experiment = experiments.write(tmp_path / 'experiment', _BODY.format(seeds=3))
  status, out, _ = call(capsys, 'sweep', experiment, f'--workdir={tmp_path / "sweep"}', '--plan')
  assert status == 0 and not (tmp_path / 'sweep').exists()
  assert (
    '2 arms x 3 seeds (0, 1, 2) = 6 runs; all spend the tokens of the baseline rate=0.15' in out
  )
  (row,) = [line.split() for line in out.splitlines() if line.startswith('rate=0.3 ')]
  assert row[:4] == ['rate=0.3', '6', '768', '230'] and row[5:] == ['3', 'waiting']
  assert 'rate=0.3: config.masking.rate = 0.3' in out and 'fewer than 3 seeds' not in out
  assert 'time left: unknown until a run is done' in out


def test_the_plan_counts_no_runs_of_another_sweep(capsys, tmp_path):
  experiment = experiments.write(tmp_path / 'experiment', _BODY.format(seeds=2))
  plan = experiments.plan(tmp_path / 'sweep', base=toys.config(model__width=64))
  (tmp_path / 'sweep').mkdir()
  layout.write(plan, tmp_path / 'sweep')
  for run in plan.runs:
    actors.finish(layout.run_folder(tmp_path / 'sweep', run))
  status, out, err = call(capsys, 'sweep', experiment, f'--workdir={tmp_path / "sweep"}', '--plan')
  assert status == 2 and 'holds another sweep' in err and not out


def test_fewer_than_three_seeds_are_allowed_and_reported(capsys, tmp_path):
  experiment = experiments.write(tmp_path / 'experiment', _BODY.format(seeds=2))
  status, out, _ = call(capsys, 'sweep', experiment, f'--workdir={tmp_path / "sweep"}', '--plan')
  assert status == 0 and 'fewer than 3 seeds: no difference can be claimed' in out


def test_the_plan_of_an_interrupted_sweep_says_how_far_it_is(tmp_path):
  plan = experiments.plan(tmp_path)
  layout.write(plan, tmp_path)
  places = [layout.run_folder(tmp_path, run) for run in plan.runs]
  actors.finish(places[0])
  (places[0] / 'timing.jsonl').write_text(
    '{"step": 3, "seconds": 80.0, "replicas": 2}\n{"step": 6, "seconds": 20.0}\n'
  )
  (places[1] / 'checkpoints' / '3').mkdir(parents=True)
  lines = plan_text.lines(plan, tmp_path)
  assert any(
    line.startswith('rate=0.15 ') and line.endswith('1 done, 1 at step 3') for line in lines
  )
  assert any(line.startswith('rate=0.3 ') and line.endswith('2 waiting') for line in lines)
  # Half a run and two of the dearer arm, at a minute a run of this one.
  share = 0.5 + 2 * _flops(plan, 2) / _flops(plan, 0)
  assert f'time left: about {share:.1f} minutes of training' in ' '.join(lines)
  for place in places[1:]:
    actors.finish(place)
  assert 'time left: none, all runs are done' in plan_text.lines(plan, tmp_path)


def _flops(plan, number):
  return budgets.cost(plan.runs[number].config)['flops']


def test_the_sweeps_own_process_leaves_the_accelerators_to_the_runs(tmp_path):
  corpus = toys.write_corpus(tmp_path / 'corpus.txt')
  experiment = experiments.write(
    tmp_path / 'experiment',
    (
      f"return sweeps.Sweep(base=toys.training_config({str(corpus)!r}), question='?', "
      "budget='flops',\n"
      "                    runs=[{}, {'masking': 'spanbert'}])"
    ),
  )
  command = ['mlm_jax', 'sweep', str(experiment), f'--workdir={tmp_path / "sweep"}', '--plan']
  done = subprocess.run(
    [sys.executable, '-m', *command],
    env={**os.environ, 'JAX_PLATFORMS': 'absent'},
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'sweep' / 'data' / 'manifest.json').exists()  # a budget of FLOPs asks for it


# The board.


def test_progress_is_the_last_whole_line_of_each_log(tmp_path):
  assert progress_lib.progress(tmp_path) == progress_lib.Progress()
  (tmp_path / 'metrics.jsonl').write_text('{"step": 2}\n{"step": 4}\n{"st')
  (tmp_path / 'timing.jsonl').write_text('{"step": 4, "tokens_per_second": 9.0}\n')
  lines = [
    json.dumps({'step': step, 'reference_loss': 1 / step, 'more': 'x' * 3000})
    for step in range(1, 40)
  ]
  (tmp_path / 'evaluations.jsonl').write_text('\n'.join(lines) + '\n')
  assert progress_lib.progress(tmp_path) == progress_lib.Progress(4, 39, 1 / 39, 9.0)
  (tmp_path / 'metrics.jsonl').write_text('not JSON\n')
  (tmp_path / 'evaluations.jsonl').write_text('3\n')
  assert progress_lib.progress(tmp_path) == progress_lib.Progress(0, None, None, 9.0)


def test_the_table_shows_every_run_and_what_runs_comes_first(tmp_path, monkeypatch):
  monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
  plan = experiments.plan(tmp_path)
  statuses = {run.name: layout.Status() for run in plan.runs}
  statuses[plan.runs[3].name] = layout.Status(layout.RUNNING, 2)
  place = layout.run_folder(tmp_path, plan.runs[3])
  place.mkdir(parents=True)
  (place / 'metrics.jsonl').write_text('{"step": 4}\n')
  (place / 'evaluations.jsonl').write_text('{"step": 4, "reference_loss": 3.25}\n')
  with progress_lib.Board(plan, tmp_path, statuses, experiments.QUIET) as shown:
    table = shown._table()
  columns = [list(column.cells) for column in table.columns]
  assert columns[0] == [plan.runs[number].name for number in (3, 0, 1, 2)]
  assert [column[0] for column in columns[1:4]] == ['running (2)', '4/6', '3.2500']
  assert table.caption == '1 running, 3 waiting'


def test_a_saved_config_is_a_config(capsys, tmp_path):
  config = toys.config(masking__corruption_probs=(0.5, 0.25, 0.25), seed=7)
  workdir_lib.write_config(tmp_path, config)
  loaded = config_lib.load(tmp_path / 'config.json', [('masking.rate', '0.3')])
  assert config_lib.differences(loaded, config) == [('masking.rate', 0.3, 0.15)]
  (tmp_path / 'config.json').write_text('{}')
  status, _, err = call(
    capsys, 'train', f'--config={tmp_path}/config.json', f'--workdir={tmp_path}/run'
  )
  assert status == 2 and 'config.json lacks config.' in err
