import hashlib

from mlm_jax.data.corpus import duplicates
from tests.data.invented import sentences


def test_the_hash_is_that_of_the_text_alone():
  both = hashlib.blake2b('naïve'.encode(), digest_size=16).hexdigest()
  first, second = duplicates.digest('naïve')
  assert (first.to_bytes(8, 'little') + second.to_bytes(8, 'little')).hex() == both


def test_the_held_out_share_is_that_asked_for_and_nested():
  """Of 4000 documents, 400 +- 19: further off than 130 once in 10**11."""
  first = [duplicates.digest(text)[0] for text in sentences(4000, seed=8)]
  kept = {
    share: {h for h in first if duplicates.validation(h, share)} for share in (0, 0.05, 0.1, 1)
  }
  assert abs(len(kept[0.1]) - 400) < 130
  assert duplicates.validation(2**63 - 1, 0.5) and not duplicates.validation(2**63, 0.5)
  assert not kept[0] and kept[0.05] < kept[0.1] and kept[1] == set(first)


def test_what_was_seen_is_not_new():
  seen = duplicates.Seen()
  assert [seen.add(n) for n in (5, 6, 5, 2**64 - 1, 2**64 - 1)] == [True, True, False, True, False]
