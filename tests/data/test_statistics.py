import collections
import dataclasses

import numpy as np
import pytest

from mlm_jax.core import batches
from mlm_jax.data import ngrams
from mlm_jax.data import statistics
from mlm_jax.masking.units import word
from tests.data.test_prepare import documents
from tests.data.test_prepare import prepare


def segments(prepared):
  """Yields the ids of each training segment, special ones left out."""
  for rows in prepared.train:
    for row, starts in zip(rows.tokens_RL.tolist(), rows.starts_RS.tolist()):
      begins = [start for start in starts if start >= 0]
      for begin, end in zip(begins, begins[1:] + [len(row)]):
        yield [i for i in row[begin:end] if i not in prepared.tokenizer.special_ids]


def counted(prepared, n):
  return collections.Counter(
    tuple(ids[i : i + n]) for ids in segments(prepared) for i in range(len(ids) - n + 1)
  )


def test_ngrams_are_those_inside_segments(prepared):
  found = prepared.statistics
  for n, ids_Nn, counts_N in (
    (2, found.bigrams_N2, found.bigram_counts_N),
    (3, found.trigrams_N3, found.trigram_counts_N),
  ):
    wanted = counted(prepared, n)
    ordered = sorted(wanted.items(), key=lambda item: (-item[1], item[0]))
    assert len(wanted) > 1000 and found.missed_2[n - 2] == 0
    assert [(tuple(ids), count) for ids, count in zip(ids_Nn.tolist(), counts_N.tolist())] == (
      ordered[: statistics.NGRAMS]
    )


@pytest.mark.parametrize('n, size', [(2, 50), (3, 50), (2, 70_000), (3, 250_000)])
def test_forgetting_the_rarest_keeps_the_frequent_and_says_what_is_missed(monkeypatch, n, size):
  monkeypatch.setattr(ngrams, '_LIMIT', 400)
  monkeypatch.setattr(ngrams, '_BLOCK', 500)
  draw = np.random.default_rng(n)
  counter = ngrams.Counter(n, size, (0,))
  wanted = collections.Counter()
  for _ in range(40):
    tokens_RL = np.minimum(draw.zipf(1.3, (8, 30)), size - 1)
    counter.add(tokens_RL)
    wanted.update(tuple(row[i : i + n]) for row in tokens_RL.tolist() for i in range(31 - n))
  ids_Mn, counts_M = counter.most_common(400)
  assert 0 < counter.missed < 100 and len(wanted) > 800
  found = {tuple(ids): count for ids, count in zip(ids_Mn.tolist(), counts_M.tolist())}
  assert all(
    wanted[gram] - counter.missed <= count <= wanted[gram] for gram, count in found.items()
  )
  assert all(gram in found for gram, count in wanted.items() if count > counter.missed)
  (best,) = wanted.most_common(1)
  assert found[best[0]] == best[1]  # never forgotten, so exact


def test_no_ngram_reaches_over_a_special_piece():
  counter = ngrams.Counter(2, 10, (0, 1))
  counter.add(np.array([[5, 6, 1, 7, 8, 0], [5, 6, 7, 0, 0, 0], [1, 0, 9, 1, 9, 0]]))
  ids_Mn, counts_M = counter.most_common(9)
  assert ids_Mn.tolist() == [[5, 6], [6, 7], [7, 8]] and counts_M.tolist() == [2, 1, 1]
  nothing = ngrams.Counter(3, 10, (0,))
  nothing.add(np.ones((4, 2), int))
  assert [len(each) for each in nothing.most_common(5)] == [0, 0]


def test_words_are_those_that_masking_takes(prepared):
  words = 0
  for rows in prepared.train:
    batch = batches.Batch(
      np.asarray(rows.tokens_RL), np.asarray(rows.starts_RS).astype(np.int32), None, None
    )
    units_BL = np.asarray(word.Word().units(prepared.table, batch))
    words += (units_BL == np.arange(units_BL.shape[1])).sum()
  assert prepared.statistics.words_S.tolist() == [words]


def test_lengths_and_fills_are_those_of_the_documents_and_rows(corpus, tmp_path):
  source = f'text:{corpus},text:{_other(tmp_path)}'
  prepared = prepare(tmp_path / 'data', source=source, row_length=64)
  found = prepared.statistics
  short = [each for each in documents(prepared, 'train') if each]
  read = sum(source['train']['documents'] for source in prepared.manifest['sources'])
  assert found.lengths_SK.sum() == read
  assert len(short) >= found.lengths_SK.sum()
  for number, rows in enumerate(prepared.train):
    used_R = (rows.tokens_RL != prepared.tokenizer.pad_id).sum(axis=1)
    wanted = collections.Counter(min(19, int(used * 20 / 64)) for used in used_R.tolist())
    assert {k: n for k, n in enumerate(found.fills_SF[number].tolist()) if n} == dict(wanted)
  lengths = [3, 1, 2, 4, 7, 8, 0, 1023, 1024]
  counter = statistics.Counter(prepared.tokenizer, 2)
  counter.source(1).add_documents(np.array(lengths))
  wanted = collections.Counter(n.bit_length() - 1 for n in lengths if n)
  assert {k: n for k, n in enumerate(counter.result().lengths_SK[1].tolist()) if n} == dict(wanted)
  assert not counter.result().lengths_SK[0].any()


def _other(folder):
  path = folder / 'other.txt'
  path.write_text('\n'.join(f'{i} ' * (i % 9 + 1) for i in range(300)))
  return path


def test_counting_in_parts_changes_nothing(prepared, monkeypatch):
  whole, parts = (statistics.Counter(prepared.tokenizer, 1) for _ in range(2))
  tokens_RL = np.asarray(prepared.train[0].tokens_RL)
  whole.source(0).add_rows(tokens_RL)
  monkeypatch.setattr(statistics, '_PART', 100)
  parts.source(0).add_rows(tokens_RL)
  for one, other in zip(vars(whole.result()).values(), vars(parts.result()).values(), strict=True):
    assert np.array_equal(one, other)


def test_statistics_are_read_as_written_and_have_the_same_bytes_at_any_time(
  prepared, tmp_path, monkeypatch
):
  statistics.write(tmp_path / 'a.npz', prepared.statistics)
  monkeypatch.setattr('time.time', lambda: 2e9)
  statistics.write(tmp_path / 'b.npz', prepared.statistics)
  assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()
  again = statistics.read((tmp_path / 'a.npz').read_bytes())
  for field in dataclasses.fields(statistics.Statistics):
    ours, read = getattr(prepared.statistics, field.name), getattr(again, field.name)
    assert np.array_equal(ours, read) and ours.dtype == read.dtype
    assert read.dtype == (np.int32 if field.name in ('bigrams_N2', 'trigrams_N3') else np.int64)


def test_statistics_that_lack_an_array_are_damaged(tmp_path, prepared):
  with open(tmp_path / 'a.npz', 'wb') as file:
    np.savez(file, counts_V=prepared.counts_V)
  with pytest.raises(KeyError):
    statistics.read((tmp_path / 'a.npz').read_bytes())
