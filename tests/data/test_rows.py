"""Rows with collocations and classes marked in them, from the sources to the batch."""

import json
import shutil

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import prepare as prepare_lib
from mlm_jax.data import rows as rows_lib
from mlm_jax.data import store
from mlm_jax.data.corpus.formats import conllu
from tests.data.invented import sentences
from tests.data.invented import settings


def write_treebank(path, documents, seed):
  """Writes sentences whose words have the part of speech that their first letter says."""
  lines = []
  for text in sentences(documents, seed):
    lines.append('# newdoc')
    for number, word in enumerate(text.replace('.', ' .').split(), 1):
      tag = 'PUNCT' if word == '.' else 'NOUN' if word[0].lower() in 'bdfgk' else 'VERB'
      lines.append(f'{number}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_')
    lines.append('')
  path.write_text('\n'.join(lines))


def prepare(folder, name='data', **changes):
  source = f'conllu:{folder}/a.conllu,conllu:{folder}/b.conllu'
  changes = dict(source=source, collocations=60, classes='conllu', near_duplicates=0.9) | changes
  return prepare_lib.prepare(
    settings(**changes), folder / name, log=changes.pop('log', lambda line: None)
  )


@pytest.fixture(scope='module')
def treebanks(tmp_path_factory):
  folder = tmp_path_factory.mktemp('treebanks')
  write_treebank(folder / 'a.conllu', 400, 0)
  write_treebank(folder / 'b.conllu', 200, 1)
  return folder


@pytest.fixture(scope='module')
def marked(treebanks):
  """Returns two sources prepared with collocations and classes."""
  return prepare(treebanks)


def every(prepared):
  return [
    (name, split, rows)
    for split in store.SPLITS
    for name, rows in zip(prepared.sources, prepared.split(split))
  ]


def test_the_marks_of_the_rows_are_those_of_their_tokens(marked):
  tokenizer = marked.tokenizer
  assert marked.classes == conllu.UPOS
  noun, punctuation, verb = (conllu.UPOS.index(name) + 1 for name in ('NOUN', 'PUNCT', 'VERB'))
  for _, _, rows in every(marked):
    index = np.arange(len(rows))
    assert np.array_equal(
      rows.columns['joins_BL'][index], marked.joins(rows.tokens_RL, rows.starts_RS)
    )
    special_RL = np.isin(rows.tokens_RL, tokenizer.special_ids)
    assert (
      not rows.columns['joins_BL'][index][special_RL].any()
      and not rows.columns['classes_BL'][:][special_RL].any()
    )
    for row, classes_L in zip(rows.tokens_RL, rows.columns['classes_BL'][:]):
      for i, number in zip(row, classes_L):
        piece = tokenizer.piece(i)
        if piece.startswith('▁') and len(piece) > 1:
          assert number == (
            noun if piece[1].lower() in 'bdfgk' else verb if piece[1] != '.' else punctuation
          )
  assert sum(rows.columns['joins_BL'][:].sum() for *_, rows in every(marked)) > 100


def test_the_manifest_counts_what_is_marked(marked):
  of = {source['name']: source for source in marked.manifest['sources']}
  for name, split, rows in every(marked):
    counts = of[name][split]
    joins_RL = rows.columns['joins_BL'][:]
    firsts = (joins_RL[:, 1:] & ~joins_RL[:, :-1]).sum()
    # Two that touch are distinguished by the words alone.
    assert counts['collocations']['collocations'] >= firsts
    assert (
      counts['collocations']['tokens'] == joins_RL.sum() + counts['collocations']['collocations']
    )
    assert counts['collocations']['words'] <= counts['collocations']['of_words']
    assert counts['classes'] == {
      tag: int((rows.columns['classes_BL'][:] == i).sum()) for i, tag in enumerate(conllu.UPOS, 1)
    }
    assert sum(counts['classes'].values()) == counts['pieces']
  words = [of[name]['train']['collocations']['of_words'] for name in marked.sources]
  assert words == marked.statistics.words_S.tolist()


def test_preparing_with_marks_again_gives_the_same_bytes(treebanks, marked):
  again = prepare(treebanks, 'again')
  assert again.manifest == marked.manifest
  for name in marked.manifest['files']:
    assert (again.directory / name).read_bytes() == (marked.directory / name).read_bytes()


def test_small_blocks_mark_the_same(treebanks, marked, monkeypatch):
  monkeypatch.setattr(rows_lib, '_BLOCK_ROWS', 7)
  monkeypatch.setattr(rows_lib, '_BATCH_CHARACTERS', 900)
  assert prepare(treebanks, 'blocks').fingerprint == marked.fingerprint


def test_marks_do_not_change_the_rows(treebanks, marked):
  plain = prepare(treebanks, 'plain', collocations=0, classes='')
  assert {name for name in marked.manifest['files'] if name not in plain.manifest['files']} == {
    'tokenizer/collocations.npz',
    *[
      f'{name}/{split}/{array}.npy'
      for name, split, _ in every(plain)
      for array in ('joins', 'classes')
    ],
  }
  assert all(
    marked.manifest['files'][name] == entry for name, entry in plain.manifest['files'].items()
  )
  assert plain.joins is None and plain.classes == plain.table.classes == ()


def test_batches_carry_the_marks_of_their_rows(marked):
  loader = loader_lib.Loader(marked, 'train', 16, seed=1)
  batch = loader.batch(2)
  assert len(set(batch.example_B2[:, 0].tolist())) == 2
  for b, (source, row) in enumerate(batch.example_B2):
    rows = marked.train[source]
    assert np.array_equal(batch.joins_BL[b], rows.columns['joins_BL'][[row]][0])
    assert np.array_equal(batch.classes_BL[b], rows.columns['classes_BL'][row])
  joins_BL, classes_BL = batch.columns['joins_BL'], batch.columns['classes_BL']
  assert joins_BL.dtype == bool and classes_BL.dtype == np.uint8
  assert joins_BL.shape == classes_BL.shape == batch.tokens_BL.shape


def test_empty_rows_of_an_evaluation_are_unmarked(marked):
  loader = loader_lib.EvaluationLoader(marked, 64)
  batch = loader.batch(len(loader) - 1)
  empty_B = (batch.tokens_BL == marked.tokenizer.pad_id).all(axis=1)
  assert 0 < empty_B.sum() < 64
  assert not batch.joins_BL[empty_B].any() and not batch.classes_BL[empty_B].any()
  assert batch.classes_BL[~empty_B].any(axis=1).all()


def test_batches_of_unmarked_rows_have_none(prepared):
  for loader in (
    loader_lib.Loader(prepared, 'train', 4, seed=1),
    loader_lib.EvaluationLoader(prepared, 4),
  ):
    assert loader.batch(0).joins_BL is None and loader.batch(0).classes_BL is None


def test_the_marks_asked_for_decide_about_reuse(treebanks, marked):
  for changes, message in (
    (dict(collocations=61), r'config.data.collocations \(prepared with 60, now 61\)'),
    (dict(classes=''), r"config.data.classes \(prepared with 'conllu', now ''\)"),
  ):
    with pytest.raises(config.UserError, match=message):
      prepare(treebanks, **changes)


@pytest.mark.parametrize(
  'name', ['tokenizer/collocations.npz', 'a/train/joins.npy', 'b/validation/classes.npy']
)
def test_data_whose_marks_are_gone_or_altered_are_refused(marked, tmp_path, name):
  copy = shutil.copytree(marked.directory, tmp_path / 'copy')
  data = bytearray((copy / name).read_bytes())
  data[-1] ^= 1
  (copy / name).write_bytes(data)
  with pytest.raises(config.UserError, match=f'{name} has been altered'):
    store.open_prepared(copy, verify=True)
  (copy / name).unlink()
  with pytest.raises(config.UserError, match=f'{name}: No such file'):
    store.open_prepared(copy)
  manifest = json.loads((copy / 'manifest.json').read_text())
  del manifest['files'][name]
  (copy / 'manifest.json').write_text(json.dumps(manifest))
  with pytest.raises(config.UserError, match='manifest.json is damaged'):
    store.open_prepared(copy)


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      dict(unit='collocation'),
      r"masking.unit = 'collocation': .* without config.data.collocations; .*"
      'mlm-jax prepare --workdir=NEW --config.data.collocations=',
    ),
    (
      dict(selection='class'),
      r"masking.selection = 'class': .* without config.data.classes; .*mlm-jax prepare",
    ),
  ],
)
def test_a_policy_that_needs_marks_is_refused_where_there_are_none(
  prepared, marked, changes, message
):
  masking = config.base().masking
  store.needs(prepared, masking)
  masking.update(changes)
  store.needs(marked, masking)
  with pytest.raises(config.UserError, match=message):
    store.needs(prepared, masking)
