import random
import unicodedata

import pytest

from mlm_jax.data import clean
from tests.data.invented import settings

ODD = ('aé\u0301e\u0301 \t\n\r\x00\x07\x0b\x0c\x1c\x7f\x85\x9f\xa0\u2028\u3000\u2581\ufeff\u200d'
       'ﬁ①한\u1112\u1161\u0327ß日😀_')


def odd_texts(n):
  draw = random.Random(1)
  return [''.join(draw.choices(ODD, k=draw.randint(0, 30))) for _ in range(n)]


@pytest.mark.parametrize('form', ['NFC', 'NFKC', 'none'])
@pytest.mark.parametrize('control', ['remove', 'keep'])
@pytest.mark.parametrize('space', ['collapse', 'keep'])
def test_cleaning_again_changes_nothing(form, control, space):
  data = settings(unicode=form, control_characters=control, white_space=space)
  for text in odd_texts(3000):
    once = clean.normalize(text, data)
    assert clean.normalize(once, data) == once
    if form != 'none':
      assert unicodedata.is_normalized(form, once)
    if control == 'remove':
      assert not any(unicodedata.category(c) == 'Cc' and not c.isspace() for c in once)
    if space == 'collapse':
      assert once == ' '.join(once.split())


def test_decoding_does_not_depend_on_where_bytes_are_cut():
  data = '\ufeffOne\r\nträe\r日😀'.encode() + b'\xff\xe6\x97x\r\n\xc3'
  counts = clean.Counts()
  assert ''.join(clean.decode([data], counts)) == 'One\nträe\n日😀\ufffd\ufffd\ufffdx\n\ufffd'
  assert counts.touched['decoding'] == [1, 4]
  for size in (1, 2, 3, 5):
    again = clean.Counts()
    chunks = [data[i:i + size] for i in range(0, len(data), size)]
    assert ''.join(clean.decode(chunks, again)) == ''.join(clean.decode([data], clean.Counts()))
    assert again.touched == counts.touched


def test_each_rule_counts_what_it_took():
  counts = clean.Counts()
  data = settings(min_characters=3, max_characters=9)
  texts = ['e\u0301abc', 'ab\x00\x07cd', 'a  b\n\nc ', 'x\u2581y', 'ab', 'a' * 10, '']
  kept = [clean.document(text, data, counts) for text in texts]
  assert kept == ['éabc', 'abcd', 'a b c', 'x_y', None, None, None]
  assert counts.touched == {
      'decoding': [0, 0], 'unicode': [1, 4], 'control_characters': [1, 2], 'boundary_mark': [1, 1],
      'white_space': [1, 3], 'min_characters': [2, 2], 'max_characters': [1, 10], 'duplicates': [0, 0]}


@pytest.mark.parametrize('data, text', [
    (b'plain', True), ('日本語'.encode(), True), ('été '.encode('latin-1') * 9, False),
    ('un été là-bas, en français '.encode('latin-1') * 9, True), (b'\x7fELF' + bytes(900), False),
    (bytes(range(256)) * 9, False), ('text'.encode('utf-16'), False), (b'', True)])
def test_what_is_mostly_not_text_is_told(data, text):
  assert clean.is_text(data) == text
