import itertools
import random

import numpy as np
import pytest
import scipy.stats

from mlm_jax.data.corpus import near_duplicates

LETTERS = 'abcdefghijklmnopqrstuvwxyz日本語العربيةไทย'


def exact(one, other):
  """Returns the Jaccard index of two texts' shingles, from Python's own sets."""
  shingles = lambda text: {(text + '\0' * 8)[i : i + 9] for i in range(len(text))}
  both = shingles(one), shingles(other)
  return len(both[0] & both[1]) / len(both[0] | both[1])


def planted(n, edits, seed=0, length=600):
  """Returns n pairs of a text and a copy with so many of its characters replaced."""
  draw = random.Random(seed)
  pairs = []
  for _ in range(n):
    text = draw.choices(LETTERS, k=length)
    copy = text.copy()
    for at in draw.sample(range(0, length, 12), draw.choice(edits)):
      copy[at] = '#'
    pairs.append((''.join(text), ''.join(copy)))
  return pairs


def test_signatures_estimate_the_similarity_with_the_stated_error():
  """The squared errors in standard deviations sum to at most what 10**-7 of such sums exceed."""
  pairs = planted(400, range(1, 30))
  similarity = np.array([exact(*pair) for pair in pairs])
  signatures = [near_duplicates.signatures(texts) for texts in zip(*pairs)]
  errors = (signatures[0] == signatures[1]).mean(axis=1) - similarity
  scaled = errors / np.sqrt(similarity * (1 - similarity) / near_duplicates.HASHES)
  assert 0.3 < similarity.min() < similarity.max() < 0.99
  assert (scaled**2).sum() < scipy.stats.chi2.isf(1e-7, len(scaled))
  assert abs(scaled.mean()) < 5.4 / len(scaled) ** 0.5


def test_a_signature_is_of_the_text_alone_without_its_case_and_white_space():
  texts = [
    'a',
    'b' * 8,
    'Ein Satz,\nder  weiter geht.',
    'ein satz, der weiter\tGEHT.',
    '日本語の文です。' * 9,
    '\0',
  ]
  together = near_duplicates.signatures(texts)
  for text, row in zip(texts, together, strict=True):
    assert np.array_equal(near_duplicates.signatures([text])[0], row)
  assert np.array_equal(together[2], together[3])
  equal = (together[:, None] == together[None]).mean(axis=2)
  assert equal[~np.eye(6, dtype=bool)].reshape(-1).tolist().count(1) == 2


@pytest.mark.parametrize('similarity', [0.02, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_find_a_pair_with_the_stated_probability(similarity):
  number, rows = near_duplicates.bands(similarity)
  found = lambda number, rows: 1 - (1 - similarity**rows) ** number
  assert 0 < number * rows <= near_duplicates.HASHES
  assert rows == 1 or found(number, rows) >= 0.99
  assert (
    rows == near_duplicates.HASHES or found(near_duplicates.HASHES // (rows + 1), rows + 1) < 0.99
  )


def decided(pairs, similarity):
  """Returns how many of the pairs lose their training half, all documents in one index."""
  texts = [text for pair in pairs for text in pair]
  validation_N = np.arange(len(texts)) % 2 == 0
  digest_N = np.arange(len(texts), dtype=np.uint64)
  dropped_N = near_duplicates.dropped(
    near_duplicates.signatures(texts), digest_N, validation_N, similarity
  )
  assert not dropped_N[validation_N].any()
  return int(dropped_N.sum())


@pytest.mark.parametrize('threshold', [0.6, 0.8])
@pytest.mark.parametrize(
  'edits',
  [
    (2, 3),
    pytest.param((5, 6), marks=pytest.mark.slow),
    (8, 9),
    pytest.param((14, 15), marks=pytest.mark.slow),
    (26, 28),
  ],
)
def test_as_many_are_dropped_as_the_closed_form_says(threshold, edits):
  """Of 300 pairs at known similarities: the binomial tail, less what all bands miss, +- 5.4
  deviations.
  """
  pairs = planted(300, edits, seed=edits[0])
  similarity = np.array([exact(*pair) for pair in pairs])
  number, rows = near_duplicates.bands(threshold)
  needed = int(np.ceil(threshold * near_duplicates.HASHES))
  alike = scipy.stats.binom.sf(needed - 1, near_duplicates.HASHES, similarity)
  missed = (1 - similarity**rows) ** number
  least, most = np.maximum(alike - missed, 0), alike
  deviation = lambda p: 5.4 * np.sqrt((p * (1 - p)).sum()) + 1
  assert least.sum() - deviation(least) <= decided(pairs, threshold) <= most.sum() + deviation(most)


def test_recall_and_precision_three_deviations_off_the_threshold():
  near, far = planted(300, (2, 3), seed=5), planted(300, (13, 14), seed=6)
  assert min(exact(*pair) for pair in near) > 0.905 and max(exact(*pair) for pair in far) < 0.695
  assert decided(near, 0.8) >= 297 and decided(far, 0.8) <= 3


@pytest.mark.parametrize('number, rows', [(4, 3), (6, 2), (12, 1)])
def test_documents_share_a_group_where_they_share_a_band(number, rows):
  signatures = np.random.default_rng(rows).integers(0, 4, (40, 12), dtype=np.uint32)
  document_M, group_M = near_duplicates._shared_bands(signatures, number, rows)
  groups = [set(group_M[document_M == i].tolist()) for i in range(len(signatures))]
  for i, j in itertools.combinations(range(len(signatures)), 2):
    shared = sum(
      np.array_equal(*signatures[[i, j], band * rows : (band + 1) * rows]) for band in range(number)
    )
    assert len(groups[i] & groups[j]) == shared


def clusters(n, seed):
  """Returns texts: copies of n originals with more or fewer edits."""
  draw = random.Random(seed)
  texts = []
  for original, _ in planted(n, (1,), seed):
    for _ in range(draw.randint(1, 5)):
      copy = list(original)
      for at in draw.sample(range(len(copy)), draw.choice((0, 1, 2, 20, 60))):
        copy[at] = draw.choice('xyz')
      texts.append(''.join(copy))
  return texts


def by_all_pairs(signatures, digests, validation, similarity):
  """Returns what is dropped when every pair is compared, in plain Python."""
  order = sorted(range(len(digests)), key=lambda i: (not validation[i], digests[i]))
  kept, dropped = [], set()
  for i in order:
    alike = any((signatures[i] == signatures[j]).sum() >= similarity * 128 for j in kept)
    if alike and not validation[i]:
      dropped.add(i)
    else:
      kept.append(i)
  return dropped


def test_what_is_dropped_is_what_comparing_all_pairs_drops_in_any_order():
  texts = clusters(60, seed=2)
  draw = np.random.default_rng(0)
  digests = draw.permutation(len(texts)).astype(np.uint64)
  validation = draw.random(len(texts)) < 0.2
  signatures = near_duplicates.signatures(texts)
  wanted = by_all_pairs(signatures, digests, validation, 0.7)
  assert len(texts) * 0.2 < len(wanted) < len(texts) * 0.8
  for order in (np.arange(len(texts)), draw.permutation(len(texts)), np.arange(len(texts))[::-1]):
    dropped_N = near_duplicates.dropped(signatures[order], digests[order], validation[order], 0.7)
    assert set(order[dropped_N].tolist()) == wanted


def test_a_document_like_a_dropped_one_alone_stays():
  """b resembles a and c, which do not resemble each other: of a, b, c only b goes."""
  ((a, c),) = planted(1, (18,), seed=3)
  differing = [i for i in range(len(a)) if a[i] != c[i]]
  b = ''.join(c[i] if i in differing[:9] else a[i] for i in range(len(a)))
  assert exact(a, b) > 0.7 and exact(b, c) > 0.7 and exact(a, c) < 0.62
  signatures = near_duplicates.signatures([a, b, c])
  dropped_N = near_duplicates.dropped(
    signatures, np.arange(3, dtype=np.uint64), np.zeros(3, bool), 0.7
  )
  assert dropped_N.tolist() == [False, True, False]


def test_no_documents_drop_none():
  nothing = np.zeros((0, near_duplicates.HASHES), np.uint32)
  assert near_duplicates.dropped(nothing, np.zeros(0, np.uint64), np.zeros(0, bool), 0.8).shape == (
    0,
  )


def test_unlike_texts_share_little(shared):
  path = shared / 'ud_multilingual' / 'UD_Turkish-BOUN.dev.text.txt'
  lines = path.read_text(encoding='utf-8').split('\n')
  texts = [' '.join(lines[i : i + 20]) for i in range(0, 900, 20)]
  signatures = near_duplicates.signatures(texts)
  assert (
    max(
      (signatures[i] == signatures[j]).mean()
      for i, j in itertools.combinations(range(len(texts)), 2)
    )
    < 0.15
  )
