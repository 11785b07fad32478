"""From sources to what is kept: the tokenizer's sample, near duplicates, filters."""

import pytest

from mlm_jax import config
from mlm_jax.data import store
from mlm_jax.data.corpus import duplicates
from mlm_jax.data.corpus import near_duplicates
from mlm_jax.data.corpus import reading
from tests.data.invented import sentences
from tests.data.test_prepare import documents
from tests.data.test_prepare import prepare


def test_the_tokenizers_sample_does_not_depend_on_the_order():
  documents = [(hash(i) * 7919 % 1000, text) for i, text in enumerate(sentences(200))]
  wanted, total = [], 0
  for _, text in sorted(documents):
    if total < 1000:
      wanted.append(text[: 1000 - total])
      total += len(text)
  for order in (documents, documents[::-1], documents[57:] + documents[:57]):
    sample = reading.Sample(1000)
    for digest, text in order:
      sample.add(digest, text)
    assert sample.texts() == wanted


def test_the_tokenizers_sample_has_no_held_out_document(prepared, corpus, tmp_path, monkeypatch):
  texts = []
  monkeypatch.setattr(reading.Sample, 'add', lambda self, digest, text: texts.append(text))
  monkeypatch.setattr(reading.Sample, 'texts', lambda self: texts)
  prepare(tmp_path / 'data', source=f'text:{corpus}')
  assert len(texts) == prepared.manifest['sources'][0]['train']['documents']
  assert not set(texts) & set(documents(prepared, 'validation'))


def long_documents(n, seed):
  """Returns n texts of 200 to 600 characters, unlike each other, each of which fits a row of
  512.
  """
  lines = sentences(4 * n, seed=seed)
  return [text for text in map(' '.join, zip(lines[::2], lines[1::2])) if 200 < len(text) < 600][:n]


def edited(text):
  """Returns the text with its last word replaced."""
  return text.rsplit(' ', 1)[0] + ' otherwise.'


@pytest.fixture(scope='module')
def planted(tmp_path_factory):
  """Returns a folder of two files: documents, and copies of them with another last word."""
  folder = tmp_path_factory.mktemp('planted')
  texts = long_documents(150, seed=3)
  (folder / 'a.txt').write_text('\n'.join(texts[:90] + [edited(text) for text in texts[90:]]))
  (folder / 'b.txt').write_text('\n'.join([edited(text) for text in texts[:90]] + texts[90:]))
  return folder


def kept_documents(folder, planted, order, **changes):
  source = ','.join(f'text:{planted}/{name}.txt' for name in order)
  made = prepare(folder / f'{order}_{len(changes)}', source=source, row_length=512, **changes)
  return made, {split: set(documents(made, split)) for split in store.SPLITS}


def test_of_near_duplicates_one_is_kept_and_never_the_held_out_one_dropped(planted, tmp_path):
  before, all_of = kept_documents(tmp_path, planted, 'ab')
  after, kept = kept_documents(tmp_path, planted, 'ab', near_duplicates=0.6)
  other, reversed_ = kept_documents(tmp_path, planted, 'ba', near_duplicates=0.6)
  assert kept['validation'] == all_of['validation'] and kept == reversed_
  of = lambda text: text.rsplit(' ', 1)[0]
  assert len(all_of['train'] | all_of['validation']) == 300
  assert len(kept['train']) == len({of(text) for text in kept['train']})
  assert not {of(text) for text in kept['train']} & {of(text) for text in kept['validation']}
  assert {of(text) for texts in kept.values() for text in texts} == {
    of(text) for texts in all_of.values() for text in texts
  }
  dropped = [source['rules']['near_duplicates'] for source in after.manifest['sources']]
  gone = all_of['train'] - kept['train']
  assert sum(entry['documents'] for entry in dropped) == len(gone) > 100
  assert sum(entry['characters'] for entry in dropped) == sum(map(len, gone))
  for split in store.SPLITS:
    counts = [
      (source[split]['documents'], source[split]['characters'])
      for source in after.manifest['sources']
    ]
    assert tuple(map(sum, zip(*counts))) == (len(kept[split]), sum(map(len, kept[split])))
  assert before.manifest['sources'][0]['rules']['near_duplicates'] == {
    'documents': 0,
    'characters': 0,
  }


def test_near_duplicates_that_are_dropped_are_not_in_the_tokenizers_sample(
  planted, tmp_path, monkeypatch
):
  texts, said = [], []
  monkeypatch.setattr(reading.Sample, 'add', lambda self, digest, text: texts.append(text))
  monkeypatch.setattr(reading.Sample, 'texts', lambda self: texts)
  made = prepare(
    tmp_path / 'data',
    log=said.append,
    source=f'text:{planted}/*.txt',
    row_length=512,
    near_duplicates=0.6,
  )
  assert set(texts) == set(documents(made, 'train')) and len(texts) == len(set(texts))
  assert any('documents by near_duplicates' in line for line in said)


def test_all_held_out_documents_come_before_the_training_documents_of_any_source(
  planted, tmp_path, monkeypatch
):
  calls = []
  dropped = near_duplicates.dropped
  monkeypatch.setattr(
    near_duplicates, 'dropped', lambda *given: calls.append(given) or dropped(*given)
  )
  made = prepare(
    tmp_path / 'data', source=f'text:{planted}/a.txt,text:{planted}/b.txt', near_duplicates=0.6
  )
  ((signatures_NH, digest_N, validation_N, similarity),) = calls
  assert similarity == 0.6 and len(signatures_NH) == 300
  assert validation_N.tolist() == [
    duplicates.validation(digest, 0.1) for digest in digest_N.tolist()
  ]
  assert validation_N.sum() == sum(
    source['validation']['documents'] for source in made.manifest['sources']
  )


def test_training_documents_that_all_resemble_held_out_ones_are_refused(tmp_path):
  text = long_documents(1, seed=7)[0]
  (tmp_path / 'a.txt').write_text('\n'.join(f'{text} {i}' for i in range(60)))
  with pytest.raises(
    config.UserError, match='no training document: config.data.near_duplicates = 0.7 took all'
  ):
    prepare(tmp_path / 'out' / 'data', source=f'text:{tmp_path}/a.txt', near_duplicates=0.7)
  assert not (tmp_path / 'out').exists()


def test_filters_that_drop_all_are_named(tmp_path):
  (tmp_path / 'a.txt').write_text('\n'.join(['again and again ' * 9] * 3 + ['=+=+=+= a']))
  with pytest.raises(
    config.UserError,
    match='every one of 4 documents was filtered out: config.data.max_repet'
    'ition = 0.2 took 3, config.data.max_symbols = 0.5 took 1',
  ):
    prepare(tmp_path / 'out', source=f'text:{tmp_path}/a.txt', max_repetition=0.2, max_symbols=0.5)
