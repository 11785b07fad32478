import json
import pathlib
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data import prepare as prepare_lib
from mlm_jax.data import rows as rows_lib
from mlm_jax.data import store
from tests import toys
from tests.data.invented import command
from tests.data.invented import sentences
from tests.data.invented import settings


def prepare(directory, log=None, **changes):
  return prepare_lib.prepare(settings(**changes), directory, log=log or (lambda line: None))


def contents(directory):
  return {
    path.relative_to(directory).as_posix(): path.read_bytes()
    for path in sorted(pathlib.Path(directory).rglob('*'))
    if path.is_file()
  }


def documents(prepared, split):
  """Returns the texts of the documents in a split, put together from their segments."""
  texts = []
  for rows in prepared.split(split):
    for row, starts in zip(rows.tokens_RL, rows.starts_RS):
      text = prepared.tokenizer.decode(row)
      texts += [each.strip().removesuffix('[SEP]').strip() for each in text.split('[CLS]')[1:]]
      assert text.count('[CLS]') == (starts >= 0).sum()
  return texts


def test_the_rows_hold_the_documents(prepared, corpus):
  lines = corpus.read_text().splitlines()
  validation = documents(prepared, 'validation')
  both = documents(prepared, 'train') + validation
  short = [line for line in lines if len(prepared.tokenizer.encode(line)) <= 30]
  assert 100 < len(short) < len(lines)
  assert set(short) <= set(both)
  assert sum(map(len, ''.join(both).replace(' ', ''))) == sum(
    map(len, ''.join(lines).replace(' ', ''))
  )
  assert 0.05 < len(validation) / len(both) < 0.16


def test_preparing_again_gives_the_same_bytes(prepared, corpus, tmp_path):
  again = prepare(tmp_path / 'data', source=f'text:{corpus}')
  assert contents(again.directory) == contents(prepared.directory)
  assert again.fingerprint == prepared.fingerprint


@pytest.mark.parametrize('packing', ['best_fit', 'contiguous'])
def test_small_windows_and_blocks_lose_nothing(prepared, corpus, tmp_path, monkeypatch, packing):
  monkeypatch.setattr(rows_lib, '_WINDOW_PIECES', 3000)
  monkeypatch.setattr(rows_lib, '_BATCH_CHARACTERS', 900)
  monkeypatch.setattr(rows_lib, '_BLOCK_ROWS', 7)
  windowed = prepare(tmp_path / 'data', source=f'text:{corpus}', packing=packing)
  special = list(windowed.tokenizer.special_ids)
  counts = windowed.counts_V.copy(), prepared.counts_V.copy()
  for each in counts:
    each[special] = 0
  assert np.array_equal(*counts)
  for split in store.SPLITS:
    assert (
      windowed.manifest['sources'][0][split]['pieces']
      == prepared.manifest['sources'][0][split]['pieces']
    )


def test_the_counts_are_those_of_the_training_rows(prepared):
  wanted = np.bincount(prepared.train[0].tokens_RL.reshape(-1), minlength=prepared.tokenizer.size)
  assert np.array_equal(prepared.counts_V, wanted)
  assert np.array_equal(prepared.table.counts_V, wanted.astype(np.float32))


def test_the_manifest_says_what_is_there_and_what_was_dropped(corpus, tmp_path):
  lines = corpus.read_text().splitlines()
  path = tmp_path / 'more.txt'
  path.write_text('\n'.join(lines + lines[:40] + ['x', 'a\x07b is kept', '']))
  said = []
  prepared = prepare(tmp_path / 'data', log=said.append, source=f'text:{path}', min_characters=3)
  (entry,) = prepared.manifest['sources']
  assert entry['documents_read'] == 642
  assert entry['rules']['duplicates']['documents'] == 40
  assert entry['rules']['min_characters'] == {'documents': 1, 'characters': 1}
  assert entry['rules']['control_characters'] == {'documents': 1, 'characters': 1}
  assert entry['train']['documents'] + entry['validation']['documents'] == 601
  for split in store.SPLITS:
    rows = prepared.split(split)[0]
    tokens = int((rows.tokens_RL != prepared.tokenizer.pad_id).sum())
    assert (entry[split]['tokens'], entry[split]['rows']) == (tokens, len(rows))
    assert entry[split]['fill'] == tokens / rows.tokens_RL.size <= entry[split]['fill_ceiling']
  assert any('dropped 1 by min_characters, 40 by duplicates' in line for line in said)
  assert any('filled' in line and 'possible' in line for line in said)


def test_the_held_out_split_stays_when_the_corpus_grows(prepared, corpus, tmp_path):
  path = tmp_path / 'grown.txt'
  path.write_text('\n'.join(sentences(300, seed=9)) + '\n' + corpus.read_text())
  grown = prepare(
    tmp_path / 'data', source=f'text:{path}', tokenizer=str(prepared.directory / store.TOKENIZER)
  )
  assert set(documents(prepared, 'validation')) < set(documents(grown, 'validation'))
  assert grown.tokenizer.sha256 == prepared.tokenizer.sha256


def test_several_sources_are_kept_apart(corpus, tmp_path):
  other = tmp_path / 'other.jsonl'
  other.write_text('\n'.join(json.dumps({'text': line}) for line in sentences(200, seed=4)))
  prepared = prepare(tmp_path / 'data', source=f'text:{corpus},text:{other}')
  assert prepared.sources == ('lines', 'other')
  assert [len(rows) > 0 for rows in prepared.train + prepared.validation] == [True] * 4


def test_a_finished_preparation_is_reused_also_without_its_inputs(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('\n'.join(sentences(300)))
  first = prepare(tmp_path / 'data', source=f'text:{path}')
  before = contents(tmp_path / 'data')
  said = []
  again = prepare(tmp_path / 'data', log=said.append, source=f'text:{path}', weights=(1,))
  assert again.fingerprint == first.fingerprint and 'reusing' in said[0]
  path.unlink()
  prepare(tmp_path / 'data', source=f'text:{path}')
  assert contents(tmp_path / 'data') == before


def test_a_source_that_is_gone_leaves_the_others_compared(tmp_path):
  for name in ('a', 'b1', 'b2'):
    (tmp_path / f'{name}.txt').write_text('\n'.join(sentences(200, seed=len(name))))
  source = f'text:{tmp_path}/a.txt,text:{tmp_path}/b*.txt'
  first = prepare(tmp_path / 'data', source=source)
  (tmp_path / 'a.txt').unlink()
  assert prepare(tmp_path / 'data', source=source).fingerprint == first.fingerprint
  (tmp_path / 'b1.txt').rename(tmp_path / 'c.txt')
  with pytest.raises(config.UserError, match='other files'):
    prepare(tmp_path / 'data', source=source)
  (tmp_path / 'c.txt').rename(tmp_path / 'b1.txt')
  (tmp_path / 'b2.txt').write_text('altered')
  with pytest.raises(config.UserError, match='other files'):
    prepare(tmp_path / 'data', source=source)


def test_other_settings_or_inputs_are_refused_by_name(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('\n'.join(sentences(300)))
  prepare(tmp_path / 'data', source=f'text:{path}')
  with pytest.raises(
    config.UserError, match=r'config.data.row_length \(prepared with 32, now 16\)'
  ):
    prepare(tmp_path / 'data', source=f'text:{path}', row_length=16)
  path.write_text('\n'.join(sentences(301)))
  with pytest.raises(config.UserError, match='other files'):
    prepare(tmp_path / 'data', source=f'text:{path}')


def test_an_edit_that_keeps_the_size_or_another_tokenizer_is_refused(prepared, tmp_path):
  path, model = tmp_path / 'a.txt', tmp_path / 'my.model'
  path.write_text('\n'.join(sentences(300)))
  model.write_bytes((prepared.directory / store.TOKENIZER).read_bytes())
  settings_ = dict(source=f'text:{path}', tokenizer=str(model))
  first = prepare(tmp_path / 'data', **settings_)
  text = path.read_text()
  path.write_text(text.replace('a', 'e', 1))
  with pytest.raises(config.UserError, match='other files .*first or last MiB'):
    prepare(tmp_path / 'data', **settings_)
  path.write_text(text)
  model.write_bytes(model.read_bytes() + b'x')
  with pytest.raises(
    config.UserError, match='another model than config.data.tokenizer = .*my.model'
  ):
    prepare(tmp_path / 'data', **settings_)
  model.unlink()
  assert prepare(tmp_path / 'data', **settings_).fingerprint == first.fingerprint


@pytest.mark.parametrize('weights', [('a',), (0,), (-1,), (1, 1)])
def test_weights_that_do_not_fit_are_refused_before_and_after_preparing(
  prepared, corpus, tmp_path, weights
):
  data = settings(source=f'text:{corpus}')
  data.weights = weights
  for directory in (prepared.directory, tmp_path / 'data'):
    with pytest.raises(config.UserError, match='config.data.weights'):
      prepare_lib.prepare(data, directory, log=lambda line: None)


def test_sources_may_have_the_names_of_the_folders_beside_them(tmp_path):
  for name in ('scratch', 'tokenizer'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'a.txt').write_text('\n'.join(sentences(300, seed=len(name))))
  prepared = prepare(
    tmp_path / 'data', source=f'text:{tmp_path}/scratch/*,text:{tmp_path}/tokenizer/*'
  )
  assert prepared.sources == ('scratch', 'tokenizer_2')
  assert all(map(len, prepared.train)) and not (tmp_path / 'data' / '.scratch').exists()


def test_what_is_skipped_is_reported_and_is_in_the_manifest(tmp_path):
  (tmp_path / 'a.txt').write_text('\n'.join(sentences(300)))
  with zipfile.ZipFile(tmp_path / 'b.zip', 'w') as archive:
    archive.writestr('in.7z', b"7z\xbc\xaf'\x1c\0\4")
    archive.writestr('image', b'\x89PNG\r\n')
  (tmp_path / 'c.txt').symlink_to('absent')
  said = []
  prepared = prepare(tmp_path / 'data', log=said.append, source=f'text:{tmp_path}/*.*')
  skipped = prepared.manifest['sources'][0]['skipped']
  assert (skipped['archives'], skipped['links'], skipped['files']) == (
    [f'{tmp_path}/b.zip:in.7z'],
    [f'{tmp_path}/c.txt'],
    [f'{tmp_path}/b.zip:image'],
  )
  assert any('skipped 1 archives' in line and 'b.zip:in.7z' in line for line in said)
  assert any('skipped 1 files' in line and 'b.zip:image' in line for line in said)
  assert any('skipped 1 links' in line and 'c.txt' in line for line in said)


@pytest.mark.parametrize(
  'text, changes, message',
  [
    ('', {}, 'the corpus is empty'),
    ('\n \n\t\n', {}, 'the corpus is empty'),
    (
      'short\nlines\n',
      dict(min_characters=9),
      'every one of 2 documents was filtered out: config.data.min_characters = 9 took 2',
    ),
    ('one long line\n', dict(max_characters=5), 'config.data.max_characters = 5 took 1'),
    ('one\ntwo\nthree\n', dict(validation_fraction=1e-9), 'no held-out document'),
    ('one\ntwo\nthree\n', dict(validation_fraction=1.0), 'no training document'),
    (
      '\n'.join(f'{i}' for i in range(30)),
      dict(row_length=512, tokenizer='given'),
      'too small for a row',
    ),
    ('\n'.join(sentences(50)), dict(vocab_size=9000), 'config.data.vocab_size = 9000: this corpus'),
    ('\n'.join(sentences(50)), dict(tokenizer='absent.model'), 'cannot read absent.model'),
    (
      '\x00\x01\x02' * 99,
      {},
      'a.txt is mostly not text; give a file of text',
    ),
  ],
)
def test_a_corpus_that_cannot_be_used_is_refused_and_nothing_left(
  tmp_path, prepared, text, changes, message
):
  (tmp_path / 'a.txt').write_text(text)
  if changes.get('tokenizer') == 'given':
    changes = changes | {'tokenizer': str(prepared.directory / store.TOKENIZER)}
  c = config.base()
  c.data.update(settings(source=f'text:{tmp_path}/a.txt'))
  c.data.update(changes)
  with pytest.raises(config.UserError, match=message):
    prepare_lib.prepare(c.data, tmp_path / 'out' / 'data', log=lambda line: None)
  assert not list((tmp_path / 'out').glob('*'))


def test_no_such_file_leaves_no_folder(tmp_path):
  with pytest.raises(config.UserError, match='matches no file'):
    prepare(tmp_path / 'out' / 'data', source=f'text:{tmp_path}/*.txt')
  assert not (tmp_path / 'out').exists()


def test_wrong_input_leaves_none_of_the_folders_made_for_it(tmp_path):
  (tmp_path / 'a.txt').write_text('\n')
  (tmp_path / 'there').mkdir()
  for parent in ('there', 'there/new/run', 'new'):
    with pytest.raises(config.UserError, match='the corpus is empty'):
      prepare(tmp_path / parent / 'data', source=f'text:{tmp_path}/a.txt')
  with pytest.raises(config.UserError, match='cannot write .*File name too long'):
    prepare(tmp_path / 'new' / ('x' * 300), source=f'text:{tmp_path}/a.txt')
  assert sorted(each.name for each in tmp_path.rglob('*')) == ['a.txt', 'there']


@pytest.mark.parametrize('place', ['.', '/', '..', 'x/..'])
def test_a_place_without_a_name_of_its_own_is_refused(corpus, tmp_path, monkeypatch, place):
  (tmp_path / 'empty').mkdir()
  monkeypatch.chdir(tmp_path / 'empty')
  with pytest.raises(config.UserError, match='exists and holds no prepared data'):
    prepare(place, source=f'text:{corpus}')
  assert [each.name for each in tmp_path.rglob('*')] == ['empty']


def test_a_place_that_is_taken_or_cannot_be_written_is_refused(corpus, tmp_path):
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine' / 'thesis.txt').write_text('precious')
  with pytest.raises(config.UserError, match='exists and holds no prepared data'):
    prepare(tmp_path / 'mine', source=f'text:{corpus}')
  assert contents(tmp_path / 'mine') == {'thesis.txt': b'precious'}
  with pytest.raises(config.UserError, match='cannot write the prepared data'):
    prepare(tmp_path / 'mine' / 'thesis.txt' / 'data', source=f'text:{corpus}')


def test_a_read_only_directory_is_refused(corpus):
  with toys.read_only_folder(corpus) as folder:
    with pytest.raises(config.UserError, match='cannot write the prepared data'):
      prepare(folder / 'data', source=f'text:{folder / corpus.name}')
    assert [each.name for each in folder.iterdir()] == [corpus.name]


_CHILD = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from mlm_jax import config
from mlm_jax.data import pack, prepare
from tests.data.invented import settings
if sys.argv[3] == 'full':
  resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
if sys.argv[3] == 'stall':
  def stall(*args):
    print('stalled', flush=True)
    signal.pause()
  pack.Part = stall
try:
  prepare.prepare(settings(source='text:' + sys.argv[1]), sys.argv[2], log=lambda line: None)
except config.UserError as error:
  sys.exit(str(error))
"""


def child(corpus, directory, how, **kwargs):
  root = pathlib.Path(__file__).parents[2]
  return subprocess.Popen(
    [sys.executable, '-c', _CHILD, str(corpus), str(directory), how],
    cwd=root,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    **kwargs,
  )


def test_a_full_disk_is_reported_and_leaves_nothing(corpus, tmp_path):
  process = child(corpus, tmp_path / 'data', 'full')
  _, said = process.communicate(timeout=60)
  assert process.returncode == 1 and 'cannot write the prepared data' in said
  assert not list(tmp_path.iterdir())


def test_a_killed_preparation_is_redone_and_two_at_once_are_refused(prepared, corpus, tmp_path):
  with child(corpus, tmp_path / 'data', 'stall') as process:
    assert process.stdout and process.stdout.readline() == 'stalled\n'
    with pytest.raises(config.UserError, match='another process is preparing'):
      prepare(tmp_path / 'data', source=f'text:{corpus}')
    process.send_signal(signal.SIGKILL)
  assert (tmp_path / 'data.building').is_dir() and not (tmp_path / 'data').exists()
  again = prepare(tmp_path / 'data', source=f'text:{corpus}')
  assert contents(again.directory) == contents(prepared.directory)
  assert [path.name for path in tmp_path.iterdir()] == ['data']


def test_the_command_says_what_it_did_and_refuses_in_one_line(corpus, tmp_path, capsys):
  flags = [
    '--config.data.document=lines',
    '--config.data.vocab_size=400',
    '--config.data.validation_fraction=0.1',
  ]
  call = ['prepare', f'--workdir={tmp_path}']
  source = f'--config.data.source=text:{corpus}'
  status, out, err = command(capsys, *call, source, *flags, '--verify')
  assert (status, err) == (0, ''), err
  assert 'is as it was written' in out
  other = f'--config.data.prepared={tmp_path / "other"}'
  status, _, err = command(capsys, *call, '--config.data.source=text:absent*', other)
  assert status == 2 and err.count('\n') == 1
  assert 'text:absent* matches no file' in err
