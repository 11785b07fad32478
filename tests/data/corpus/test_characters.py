import itertools
import random
import sys
import unicodedata

import numpy as np
import pytest

from mlm_jax.data.corpus import characters


@pytest.mark.parametrize('n', [1, 3, 9])
def test_windows_have_equal_hashes_where_and_only_where_they_are_equal(n):
  draw = random.Random(n)
  text = ''.join(draw.choices('ab日😀', k=400))
  hashes = characters.windows(characters.codes(text), n).tolist()
  assert len(hashes) == len(text) - n + 1
  for i, j in itertools.combinations(range(len(hashes)), 2):
    assert (hashes[i] == hashes[j]) == (text[i : i + n] == text[j : j + n])


def test_every_bit_of_a_hash_depends_on_the_text():
  """Of 4000 hashes each bit is set in 2000 +- 32: further off than 200 once in 10**9."""
  text = ''.join(chr(0x100 * i) for i in range(1, 200)) + ''.join(
    map(chr, range(0x4E00, 0x4E00 + 3809))
  )
  hashes = characters.windows(characters.codes(text), 9)
  bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=0)
  assert abs(bits.astype(int) - len(hashes) // 2).max() < 200


def test_a_text_shorter_than_a_window_has_none():
  assert len(characters.windows(characters.codes('ab'), 3)) == 0


def test_symbols_are_what_is_neither_written_in_words_nor_space():
  is_symbol = characters.symbols()
  for text, wanted in (
    ('aéß日한ไтदİ١²５', False),
    (' \t\n\u3000\xa0\u2028', False),
    ('\u0301\u0e31\u093f\ufe0f', False),
    ('\u200c\u200d\xad', False),
    ('.,!?¿«»“。、…—-_', True),
    ('+=<>|$€^`😀→', True),
    ('\x07', True),
  ):
    assert [bool(is_symbol[ord(c)]) for c in text] == [wanted] * len(text), text
  assert len(is_symbol) == sys.maxunicode + 1
  others = set('Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Zs Zl Zp Cf'.split())
  assert is_symbol.sum() == sum(
    unicodedata.category(each) not in others and not each.isspace()
    for each in map(chr, range(sys.maxunicode + 1))
  )
