"""What a run would be, said without it: sizes as those of the run, and nothing left behind."""

import re

import pytest

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.tasks import dry_run
from mlm_jax.training import saved
from mlm_jax.training import workdir as workdir_lib
from tests import shared_runs
from tests import toys
from tests.cli.test_main import call


def content(folder):
  """Returns {path: (bytes, when it was written)} of all that lies in a folder."""
  files = (each for each in folder.rglob('*') if each.is_file())
  return {each: (each.read_bytes(), each.stat().st_mtime_ns) for each in files}


def number(text, pattern):
  return float(re.search(pattern, text)[1].replace(',', ''))


def test_a_finished_run_is_told_as_it_is_and_left_as_it_is(capsys, tmp_path_factory):
  run = shared_runs.from_the_command_line(tmp_path_factory)
  before = content(run)
  status, out, _ = call(capsys, 'train', '--dry-run', f'--workdir={run}')
  assert status == 0 and content(run) == before
  config = workdir_lib.read_config(run)
  assert number(out, r'heads: ([\d,]+) parameters') == trees.count(saved.open_model(run).params)
  table = vocabulary.table(320, 4, range(5))
  policy = masking.make(table, **config.masking.to_dict())
  assert f'tokens_BL [8, 32], starts_BS [8, {config.data.max_segments}]' in out
  assert number(out, r'at most P = ([\d,]+) predictions for each 8 rows') == policy.cap(8, 32)
  assert number(out, r'all: ([\d,]+) tokens') == 6 * 8 * 32
  rows = number((run.parent / 'printed.txt').read_text(), r'train: ([\d,]+) rows')
  assert number(out, r'which ([\d.e-]+) epochs') == pytest.approx(6 * 8 / rows, rel=1e-2)
  assert number(out, r'steps: ([\d.e-]+) s a step') > 0
  assert 'in all 6 steps' in out and 'for the 0 steps to come' in out


@pytest.mark.slow
def test_of_a_run_to_come_nothing_is_made(tmp_path, tmp_path_factory):
  corpus = shared_runs.corpus(tmp_path_factory)
  stages = ({'steps': 4}, {'steps': 2, 'batch_size': 4, 'data.row_length': 32})
  config = toys.training_config(corpus, stages=stages)
  text = '\n'.join(dry_run.lines(config, tmp_path / 'run'))
  assert list(tmp_path.iterdir()) == []
  assert text.count('data: not prepared yet') == 2
  assert 'steps 1 to 4: tokens_BL [8, 16]' in text and 'steps 5 to 6: tokens_BL [4, 32]' in text
  # As with the 320 pieces to come, and not with the words of what stands in.
  run = shared_runs.trained(tmp_path_factory, 'run')
  assert number(text, r'heads: ([\d,]+) parameters') == trees.count(saved.open_model(run).params)
  flops = [float(each) for each in re.findall(r'predictions, ([\d.e+]+) FLOPs', text)]
  assert number(text, r'in all 6 steps, ([\d.e+]+) FLOPs') == pytest.approx(
    4 * flops[0] + 2 * flops[1], rel=1e-2
  )


def test_what_a_run_would_refuse_is_refused_and_what_cannot_be_made_up_is_said(
  tmp_path, tmp_path_factory
):
  corpus = shared_runs.corpus(tmp_path_factory)
  refused = (
    (toys.training_config(corpus, batch_size=7, mesh__devices=2), 'batch_size = 7: must be'),
    (toys.training_config(corpus, init_from=str(tmp_path / 'no')), f'no run in {tmp_path}/no'),
    (
      toys.training_config(corpus, data__classes='conllu', data__source=f'conllu:{corpus}'),
      'nothing can stand in for this data .*: make it first, with mlm-jax prepare',
    ),
  )
  for config, says in refused:
    with pytest.raises(config_lib.UserError, match=says):
      list(dry_run.lines(config, tmp_path / 'run'))
  assert list(tmp_path.iterdir()) == []
