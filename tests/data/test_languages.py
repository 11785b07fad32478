"""Scripts without spaces, rich morphology and joined characters, from text to training and back."""

import random
import sys

import numpy as np
import pytest

from mlm_jax.core import batches
from mlm_jax.data import prepare as prepare_lib
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.corpus import clean
from mlm_jax.tasks import pretraining
from tests import toys
from tests.data.invented import settings
from tests.data.invented import word_units
from tests.data.test_prepare import documents

LINES = {
  'Persian': 'می\u200cخواهم به خانه\u200cام بروم و کتاب\u200cها را بخوانم',
  'Hindi': 'क्\u200dषेत्र में विद्यार्थी हिन्दी पढ़ते हैं',
  'Arabic': 'كَتَبَ الوَلَدُ الدَّرْسَ فِي المَدْرَسَةِ',
  'Hebrew': 'שָׁלוֹם עוֹלָם',
  'Korean': '한국어 문장은 띄어쓰기를 합니다',
  'Turkish': 'İstanbul ılık İÇİN ığdır',
  'Tamil': 'தமிழ் மொழி',
  'Vietnamese': 'Tiếng Việt rất đẹp',
  'Thai': 'ภาษาไทยเป็นภาษาที่สวยงามมาก',
  'Khmer': 'ភាសាខ្មែរ\u200bជា\u200bភាសា\u200bផ្លូវការ',
  'Burmese': 'မြန်မာဘာသာ',
  'Chinese': '葛\U000e0100城市与ＡＢＣ１２３\u3000全角，「引用」。',
  'Japanese': 'カタカナとひらがなの々〱文章ー。ﾊﾝｶｸ か\u3099',
  'emoji': 'good 👩\u200d💻 ❤\ufe0f 👍🏽 flag🇫🇮 ok',
  'hyphen': 'co\xadoperate x\u0323\u0301 Å ﬁ',
}


@pytest.fixture(scope='module', params=['unigram', 'bpe'])
def tokenizer(request):
  data = settings(tokenizer=request.param, vocab_size=460)
  texts = [clean.normalize(line, data) for line in LINES.values()] * 30
  return tokenizer_lib.make(tokenizer_lib.train(texts, data))


@pytest.mark.parametrize('space', ['collapse', 'keep'])
def test_the_way_to_ids_and_back_changes_no_character(tokenizer, space):
  data = settings(white_space=space)
  for line in [*LINES.values(), ' '.join(LINES.values()), '\u3000'.join(LINES.values())]:
    text = clean.normalize(line, data)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_character_there_is_survives(tokenizer):
  """One in 37, each beside others; all 1,112,064 were tried once."""
  surrogates = range(0xD800, 0xE000)
  number = sys.maxunicode + 1 - len(surrogates)
  codes = random.Random(0).sample(range(number), number // 37)
  characters = [chr(i + len(surrogates) * (i >= surrogates.start)) for i in codes]
  data = settings(white_space='keep', control_characters='keep')
  for begin in range(0, len(characters), 64):
    text = clean.normalize(''.join(characters[begin : begin + 64]), data)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_joiners_survive_cleaning_and_wide_spaces_become_spaces():
  data = settings()
  for name in ('Persian', 'Hindi', 'Khmer', 'emoji'):
    assert clean.normalize(LINES[name], data) == LINES[name]
  assert clean.normalize('全\u3000角\xa0\u2028文', data) == '全 角 文'
  assert clean.normalize('全\u3000角', settings(white_space='keep')) == '全\u3000角'
  assert (
    clean.normalize('İıＡ①', data) == 'İıＡ①'
    and clean.normalize('Ａ①', settings(unicode='NFKC')) == 'A1'
  )


def words_of(tokenizer, text):
  """Returns the words of a text as masking takes them, its documents' marks left out."""
  ids = np.full((1, 256), tokenizer.pad_id, np.int32)  # one shape, one compilation
  row = [tokenizer.cls_id, *tokenizer.encode(text), tokenizer.sep_id]
  ids[0, : len(row)] = row
  batch = batches.Batch(ids, np.zeros((1, 1), np.int32), None, None)
  unit_L = np.asarray(word_units(tokenizer.table(), batch))[0]
  words = [
    tokenizer.decode(ids[0][unit_L == unit]).strip(' ') for unit in np.unique(unit_L[unit_L >= 0])
  ]
  return [word for word in words if word]


@pytest.mark.parametrize(
  'language', ['Persian', 'Hindi', 'Arabic', 'Hebrew', 'Korean', 'Turkish', 'Tamil', 'Vietnamese']
)
def test_words_of_a_spaced_script_are_what_spaces_separate(tokenizer, language):
  text = clean.normalize(LINES[language], settings())
  assert words_of(tokenizer, text) == text.split(' ')


@pytest.mark.parametrize('language', ['Chinese', 'Japanese', 'Thai', 'Khmer', 'Burmese'])
def test_every_piece_of_a_script_without_spaces_is_its_own_word(tokenizer, language):
  text = clean.normalize(LINES[language], settings()).replace('ＡＢＣ１２３', '')
  pieces = [tokenizer.decode([i]).strip(' ') for i in tokenizer.encode(text)]
  assert words_of(tokenizer, text) == [piece for piece in pieces if piece]


LANGUAGES = ('Chinese-GSD', 'Japanese-GSD', 'Turkish-BOUN', 'Finnish-TDT')


@pytest.fixture(scope='module')
def corpora(shared):
  return [shared / 'ud_multilingual' / f'UD_{language}.dev.text.txt' for language in LANGUAGES]


@pytest.fixture(scope='module')
def four(corpora, tmp_path_factory):
  """Returns the config of a run on all four languages, and its prepared data."""
  run = tmp_path_factory.mktemp('four')
  config = toys.training_config(
    '',
    data__source=','.join(f'text:{path}' for path in corpora),
    data__vocab_size=5000,
    data__row_length=32,
    data__validation_fraction=0.1,
    masking__unit='word',
  )
  return config, run, prepare_lib.prepare(config.data, run / 'data', log=lambda line: None)


def test_every_line_of_four_languages_comes_back_exactly(four, corpora):
  config, _, prepared = four
  for path in corpora:
    lines = path.read_text(encoding='utf-8-sig').splitlines()
    texts = [clean.normalize(line, config.data) for line in lines]
    assert len(texts) > 400
    for text, ids in zip(texts, prepared.tokenizer.encode_batch(texts), strict=True):
      assert prepared.tokenizer.decode(ids) == text


def test_four_languages_are_packed_without_loss(four, corpora):
  config, _, prepared = four
  kept = documents(prepared, 'train') + documents(prepared, 'validation')
  assert [len(rows) > 10 for rows in prepared.train + prepared.validation] == [True] * 8
  room = prepared.row_length - 2
  for path in corpora:
    texts = {
      clean.normalize(line, config.data) for line in path.read_text(encoding='utf-8').splitlines()
    }
    short = {text for text in texts if text and len(prepared.tokenizer.encode(text)) <= room}
    assert short and short <= set(kept)
  words = [
    entry['train']['pieces'] / n
    for entry, n in zip(prepared.manifest['sources'], prepared.statistics.words_S)
  ]
  assert (
    max(words[:2]) < 1.2 < min(words[2:])
  )  # pieces of a word: without spaces, with rich morphology


@pytest.mark.slow
def test_four_languages_are_trained_on(four):
  config, run, _ = four
  said = []
  assert pretraining.run(config, run, said.append)
  assert any('step 6/6' in line for line in said)
