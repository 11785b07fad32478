"""`mlm-jax import` and `mlm-jax export` from the command line."""

import json

import mlm_jax
from tests.cli.test_main import call
from tests.huggingface import builders


def test_a_folder_is_imported_used_and_exported(capsys, tmp_path):
  theirs = builders.write_published(tmp_path / 'theirs', 'bert')
  run = tmp_path / 'run'
  status, out, _ = call(capsys, 'import', f'--from={tmp_path / "theirs"}', f'--workdir={run}')
  assert status == 0 and f'{run}: bert, ' in out and '45 pieces' in out
  status, out, _ = call(capsys, 'fill', f'--workdir={run}', 'ab [MASK]')
  assert status == 0
  status, out, _ = call(capsys, 'export', f'--workdir={run}', f'--to={tmp_path / "back"}')
  assert status == 0 and f'{tmp_path / "back"}: BertForMaskedLM, ' in out
  builders.assert_same(builders.read_tensors(tmp_path / 'back'), theirs)
  status, out, _ = call(
    capsys, 'export', f'--workdir={run}', f'--to={tmp_path / "st"}', '--sentence-transformers'
  )
  assert status == 0 and json.loads((tmp_path / 'st' / 'modules.json').read_text())
  assert mlm_jax.open_run(run).step == 0


def refused(capsys, *argv):
  """Returns the one line that a command says of wrong input."""
  status, _, err = call(capsys, *argv)
  assert status == 2 and len(err.splitlines()) == 1 and 'Traceback' not in err
  return err


def test_wrong_input_is_one_line_and_status_2(capsys, tmp_path):
  run, to = f'--workdir={tmp_path / "run"}', f'--to={tmp_path / "to"}'
  theirs = f'--from={tmp_path / "theirs"}'
  assert 'has no config.json' in refused(capsys, 'import', f'--from={tmp_path}', run)
  builders.write_published(tmp_path / 'theirs', 'bert', model_type='gpt2')
  assert "model_type 'gpt2' is not known here" in refused(capsys, 'import', theirs, run)
  (tmp_path / 'theirs' / 'config.json').write_text('{')
  assert 'config.json is damaged' in refused(capsys, 'import', theirs, run)
  assert 'no run in' in refused(capsys, 'export', run, to)
  assert [each.name for each in tmp_path.iterdir()] == ['theirs']
  builders.write_run(tmp_path / 'run')
  assert 'run exists; choose another --workdir' in refused(capsys, 'import', theirs, run)
  assert '--part=discriminator is for runs' in refused(
    capsys, 'export', run, to, '--part=discriminator'
  )
  assert 'exists; choose another --to' in refused(
    capsys, 'export', run, f'--to={tmp_path / "theirs"}'
  )
  assert "invalid choice: 'head'" in refused(capsys, 'export', run, to, '--part=head')
