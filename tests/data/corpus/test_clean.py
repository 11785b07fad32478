import random
import unicodedata

import pytest

from mlm_jax.data.corpus import clean
from tests.data.invented import settings

ODD = (
  'aé\u0301e\u0301 \t\n\r\x00\x07\x0b\x0c\x1c\x7f\x85\x9f\xa0\u2028\u3000\u2581\ufeff\u200d'
  'ﬁ①한\u1112\u1161\u0327ß日😀_'
)


def odd_texts(n):
  draw = random.Random(1)
  return [''.join(draw.choices(ODD, k=draw.randint(0, 30))) for _ in range(n)]


@pytest.mark.parametrize('form', [pytest.param('NFC', marks=pytest.mark.slow), 'NFKC', 'none'])
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
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert ''.join(clean.decode(chunks, again)) == ''.join(clean.decode([data], clean.Counts()))
    assert again.touched == counts.touched


def test_each_rule_counts_what_it_took():
  counts = clean.Counts()
  data = settings(min_characters=3, max_characters=9)
  texts = ['e\u0301abc', 'ab\x00\x07cd', 'a  b\n\nc ', 'x\u2581y', 'ab', 'a' * 10, '']
  kept = [clean.document(text, data, counts) for text in texts]
  assert kept == ['éabc', 'abcd', 'a b c', 'x_y', None, None, None]
  assert counts.touched == {
    'decoding': [0, 0],
    'unicode': [1, 4],
    'control_characters': [1, 2],
    'boundary_mark': [1, 1],
    'white_space': [1, 3],
    'min_characters': [2, 2],
    'max_characters': [1, 10],
    'max_repetition': [0, 0],
    'max_symbols': [0, 0],
    'duplicates': [0, 0],
    'near_duplicates': [0, 0],
  }


@pytest.mark.parametrize(
  'data, text',
  [
    (b'plain', True),
    ('日本語'.encode(), True),
    ('été '.encode('latin-1') * 9, False),
    ('un été là-bas, en français '.encode('latin-1') * 9, True),
    (b'\x7fELF' + bytes(900), False),
    (bytes(range(256)) * 9, False),
    ('text'.encode('utf-16'), False),
    (b'', True),
  ],
)
def test_what_is_mostly_not_text_is_reported(data, text):
  assert clean.is_text(data) == text


def brute_repetition(text):
  """Returns the share of characters in a window of 20 that occurred before, one by one."""
  repeated = set()
  for i in range(len(text) - 19):
    if text[i : i + 20] in (text[j : j + 20] for j in range(i)):
      repeated.update(range(i, i + 20))
  return len(repeated) / len(text)


def test_repetition_is_the_share_that_occurred_before():
  draw = random.Random(3)
  parts = [''.join(draw.choices('ab日', k=30)) for _ in range(4)]
  for n in (1, 2, 5, 12):
    text = ' '.join(draw.choices(parts, k=n)) + draw.choice(parts)[: draw.randint(0, 30)]
    assert clean.repetition(text) == pytest.approx(brute_repetition(text), abs=1e-12)
  once = ''.join(map(chr, range(0x4E00, 0x4E00 + 500)))
  assert clean.repetition(once) == 0 == clean.repetition('') == clean.repetition('haha' * 4)
  assert clean.repetition(once * 4) == 0.75
  assert (
    clean.repetition(once + once[7:26]) == 0 and clean.repetition(once + once[7:27]) == 20 / 520
  )


def test_repetition_is_looked_for_inside_stretches(monkeypatch):
  once = ''.join(map(chr, range(0x4E00, 0x4E00 + 500)))
  monkeypatch.setattr(clean, '_STRETCH', 500)
  assert clean.repetition(once * 2) == 0 and clean.repetition(once[:250] * 4) == 0.5


def test_symbols_are_counted_as_a_share():
  assert clean.symbols('') == 0 == clean.symbols('naïve 日本 می\u200cخواهم क्\u200dष ١٢٣')
  assert clean.symbols('$$$ abc') == 3 / 7 and clean.symbols('。。') == 1


SPAM = ['Buy now! Best price! ' * 20, '买一送一,立即抢购!' * 30, 'ucuz bilet, hemen al. ' * 20]
SIGNS = [
  '=-=-=-=-=<>|||---> * * * [x] {}',
  '★☆★☆→→ 限 ★☆★☆◆◇◆',
  '<<>> || && ^^ %% ## a = b; }} {{ ;;',
]


def test_spam_is_dropped_and_counted_by_the_rule_that_drops_it():
  data = settings(max_repetition=0.3, max_symbols=0.3)
  counts = clean.Counts()
  assert [clean.document(text, data, counts) for text in SPAM + SIGNS] == [None] * 6
  assert counts.touched['max_repetition'] == [3, sum(len(' '.join(text.split())) for text in SPAM)]
  assert counts.touched['max_symbols'] == [3, sum(map(len, SIGNS))]


def test_a_share_just_at_its_limit_passes():
  repeated = ''.join(map(chr, range(0x4E00, 0x4E00 + 500))) * 4
  for text, rule, share in ((repeated, 'max_repetition', 0.75), ('=+=+abcd', 'max_symbols', 0.5)):
    assert clean.document(text, settings(**{rule: share}), clean.Counts()) == text
    assert clean.document(text, settings(**{rule: share - 1e-6}), clean.Counts()) is None


@pytest.mark.parametrize('language', ['Chinese-GSD', 'Japanese-GSD', 'Turkish-BOUN', 'Finnish-TDT'])
def test_ordinary_text_of_any_language_passes(shared, language):
  path = shared / 'ud_multilingual' / f'UD_{language}.dev.text.txt'
  lines = path.read_text(encoding='utf-8').split('\n')
  data = settings(max_repetition=0.3, max_symbols=0.3)
  # As documents of ten sentences: a sentence alone may be a price list or a row of dots.
  texts = [' '.join(lines[i : i + 10]) for i in range(0, len(lines) - 9, 10)]
  assert len(texts) > 40 and all(clean.document(text, data, clean.Counts()) for text in texts)


def test_filters_that_are_off_are_not_computed(monkeypatch):
  monkeypatch.delattr(clean, 'repetition')
  monkeypatch.delattr(clean, 'symbols')
  assert clean.document(SPAM[0], settings(), clean.Counts()) == SPAM[0].strip()
  with pytest.raises(NameError):
    clean.document(SPAM[0], settings(max_symbols=0.99), clean.Counts())
