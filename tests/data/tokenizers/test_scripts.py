import pytest

from mlm_jax.data.tokenizers import scripts


@pytest.mark.parametrize(
  'text',
  [
    '日本',
    'カタカナ',
    'ー',
    '々〱',
    'ﾊﾝｶｸ',
    'ไทย',
    'ลาว',
    'ខ្មែរ',
    'မြန်မာ',
    'བོད',
    'ꦗꦮ',
    '.',
    '。',
    '«',
    '_',
    '😀',
    '👩\u200d💻',
    '❤\ufe0f',
    '葛\U000e0100',
    'か\u3099',
    '🇫🇮',
    '\u200b',
  ],
)
def test_a_piece_without_a_letter_of_a_spaced_script_is_a_word_of_its_own(text):
  assert scripts.stands_apart(text)


@pytest.mark.parametrize(
  'text',
  [
    'word',
    '12',
    '１２',
    'ＡＢ',
    '한국',
    'İ',
    'हिन्दी',
    'عَرَبي',
    'שָׁלוֹם',
    'A日',
    'naïve',
    'می\u200cخواهم',
    '\u200c',
    '\u200d',
    '\xad',
    '\u0301',
    '\ufe0f',
    '\u064e',
    '\u094d',
    '\u2060',
    '',
  ],
)
def test_letters_of_spaced_scripts_and_what_goes_with_them_are_not_words_of_their_own(text):
  assert not scripts.stands_apart(text)


def test_sentences_end_at_full_stops_of_many_scripts():
  for text in (
    '.',
    '▁!',
    '?',
    '…',
    '...',
    '."',
    '!)',
    '.”)',
    '?»',
    '。',
    '！',
    '？」',
    '।',
    '؟',
    '۔',
    '։',
    'a.',
  ):
    assert scripts.ends_sentence(text), text
  for text in ('', ',', ';', ':', '"', ')', 'a', '.com', '3.1', '. a', '、', '▁', '-', '(.('):
    assert not scripts.ends_sentence(text), text


def test_letters_are_letters_marks_and_numbers():
  assert all(map(scripts.has_letters, ('a', '▁the', "'s", '3', 'é', '日', 'ไ', '\u0301', '½')))
  assert not any(map(scripts.has_letters, ('', '.', '▁', '*', '“', '-', '€', '。', '▁--')))
