"""What cannot be adapted, or not to this: a line, exit status 2, and nothing is left."""

import shutil

import pytest

from tests import shared_runs
from tests import toys
from tests.cli.test_main import call

SMALL = ('data.row_length=16', 'batch_size=8', 'total_steps=4', 'optim.warmup_steps=1')


@pytest.fixture
def parent(tmp_path_factory):
  return shared_runs.to_continue(tmp_path_factory)


def refused(capsys, parent, folder, *settings, documents=40):
  """Returns what `adapt` says of a domain of so many lines."""
  text = toys.write_corpus(folder / 'domain.txt', documents, seed=5)
  flags = [f'--config.{each}' for each in (*SMALL, 'data.document=lines', *settings)]
  status, _, err = call(
    capsys,
    'adapt',
    f'--from={parent}',
    f'--config.data.source=text:{text}',
    f'--workdir={folder / "run"}',
    *flags,
  )
  assert status == 2 and err.count('\n') == 1
  assert not (folder / 'run').exists() or not any(
    each.name in ('data', 'general', 'config.json') for each in (folder / 'run').iterdir()
  )
  return err


def test_a_parent_without_its_rows(capsys, parent, tmp_path):
  bare = tmp_path / 'bare'
  shutil.copytree(parent, bare, ignore=shutil.ignore_patterns('data'))
  err = refused(capsys, bare, tmp_path)
  assert f'{bare} keeps no general rows in {bare}/data; name general text in config.adapt' in err


def test_a_domain_without_a_held_out_document(capsys, parent, tmp_path):
  err = refused(capsys, parent, tmp_path, documents=3)
  assert 'no held-out document: config.data.validation_fraction = 0.01 of 3 documents' in err


def test_general_text_that_is_not_there(capsys, parent, tmp_path):
  err = refused(capsys, parent, tmp_path, 'adapt.general=text:absent/*.txt')
  assert 'absent' in err


def test_new_pieces_need_general_text_of_the_extended_tokenizer(capsys, parent, tmp_path):
  err = refused(capsys, parent, tmp_path, 'adapt.new_pieces=9')
  assert f'config.adapt.new_pieces = 9: the rows that {parent} keeps are of the tokenizer w' in err


def test_more_new_pieces_than_the_domain_has_words(capsys, parent, tmp_path):
  source = f'adapt.general=text:{tmp_path}/domain.txt'
  split = 'data.validation_fraction=0.2'
  err = refused(capsys, parent, tmp_path, 'adapt.new_pieces=5000', source, split)
  assert 'config.adapt.new_pieces = 5000: the training text has ' in err


def test_a_tokenizer_that_cannot_be_extended(capsys, tmp_path_factory, tmp_path):
  parent = shared_runs.trained(tmp_path_factory, 'of_bpe', data__tokenizer='bpe')
  source = f'adapt.general=text:{tmp_path}/domain.txt'
  err = refused(capsys, parent, tmp_path, 'adapt.new_pieces=9', source)
  assert 'a BPE tokenizer cannot be extended; a WordPiece and a unigram one can, others ar' in err


def test_general_text_without_a_held_out_document_leaves_nothing_half_made(
  capsys, parent, tmp_path
):
  (tmp_path / 'general.txt').write_text('one two\nthree four\nfive six')
  text = toys.write_corpus(tmp_path / 'domain.txt', 200, seed=5)
  flags = [f'--config.{each}' for each in (*SMALL, 'data.document=lines')]
  sources = (f'--config.data.source=text:{text}', '--config.data.validation_fraction=0.1')
  general, run = f'--config.adapt.general=text:{tmp_path}/general.txt', tmp_path / 'run'
  for _ in range(2):  # again on the domain that is prepared
    status, _, err = call(
      capsys, 'adapt', f'--from={parent}', *sources, general, f'--workdir={run}', *flags
    )
    assert status == 2 and err.count('\n') == 1 and 'general: no held-out document' in err
    assert sorted(each.name for each in run.iterdir() if each.name != 'lock') == ['data']


@pytest.mark.parametrize(
  'setting, says',
  (
    ('adapt.allowance=-1', 'config.adapt.allowance = -1.0: must be at least 0'),
    ('adapt.new_pieces=-1', 'config.adapt.new_pieces = -1: must be at least 0'),
    ('adapt.replay=1', 'config.adapt.replay = 1.0: must be below 1'),
    ('evaluation.at_start=false', 'config.evaluation.at_start = False: must be True in an adapt'),
    ('checkpoint.keep_best=0', 'config.checkpoint.keep_best = 0: must be at least 1 in an adapt'),
    ('adapt.genral=x', 'unknown setting config.adapt.genral; did you mean config.adapt.general'),
  ),
)
def test_settings_that_cannot_work(capsys, parent, tmp_path, setting, says):
  assert says in refused(capsys, parent, tmp_path, setting)


def test_a_recipe_of_another_kind_and_no_run_to_start_from(capsys, tmp_path):
  status, _, err = call(capsys, 'adapt', '--config=bert_base', f'--workdir={tmp_path}/run')
  assert status == 2 and 'is not of adaptation: take the recipe adaptation' in err
  status, _, err = call(capsys, 'adapt', f'--workdir={tmp_path}/run')
  assert status == 2 and "config.init_from = '': must be the folder of a run" in err
