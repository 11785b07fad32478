"""A token begins every word, whatever the tokenizer, and sentences are cut at a word."""

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import words
from tests import toys

SENTENCES = (
  ['Héllo', ',', 'wörld', '!', 'abc'],
  ['naïve-ish', "don't", '日本', '語', 'no', '.'],
  ['x'],
)


def data(**settings):
  made = config.finetuning().data
  with made.unlocked():
    made.update(settings)
  return made


@pytest.fixture(scope='module', params=('unigram', 'wordpiece', 'byte_bpe'))
def tokenizer(request, tmp_path_factory):
  path = toys.write_corpus(tmp_path_factory.mktemp('words') / 'corpus.txt')
  settings = toys.training_config(path, data__tokenizer=request.param).data
  texts = path.read_text().splitlines() + [' '.join(each) for each in SENTENCES] * 3
  with settings.unlocked():
    settings.vocab_size = 200 if request.param == 'wordpiece' else 300
  return tokenizers.make(tokenizers.train(texts, settings))


def encode(sentence, tokenizer, **settings):
  (found,) = words.encode([sentence], tokenizer, data(**settings))
  return found


@pytest.mark.parametrize('sentence', SENTENCES)
def test_the_tokenizer_sees_running_text(tokenizer, sentence):
  found = encode(sentence, tokenizer)
  ids = found.tokens_T.tolist()
  assert (ids[0], ids[-1]) == (tokenizer.cls_id, tokenizer.sep_id)
  assert ids[1:-1] == tokenizer.encode(' '.join(sentence))
  at = np.flatnonzero(found.word_T >= 0)
  assert found.word_T[at].tolist() == list(range(len(sentence))) and not found.left_out
  for word, begin, end in zip(sentence, at, [*at[1:], len(ids) - 1]):
    # A WordPiece decodes punctuation with spaces.
    spelled = tokenizer.decode(ids[begin:end]).replace(' ', '')
    assert spelled == word or tokenizer.unk_id in ids[begin:end]


def test_a_word_that_is_cleaned_away_keeps_its_place(tokenizer):
  gone = tokenizer.mask_id if tokenizer.unk_id is None else tokenizer.unk_id
  found = encode(['\x00', 'abc', '\ufeff', 'no', '\x01'], tokenizer)
  at = np.flatnonzero(found.word_T >= 0)
  assert found.word_T[at].tolist() == [0, 1, 2, 3, 4]
  assert found.tokens_T[at[[0, 2, 4]]].tolist() == [gone] * 3
  others = np.delete(found.tokens_T, at[[0, 2, 4]])
  assert others[1:-1].tolist() == tokenizer.encode('abc no')


def test_long_sentences_end_with_a_whole_word(tokenizer):
  sentence = [word for each in SENTENCES for word in each] * 3
  whole = encode(sentence, tokenizer, row_length=512)
  at = [*np.flatnonzero(whole.word_T >= 0), len(whole.tokens_T) - 1]
  for room in range(8, 40):
    found = encode(sentence, tokenizer, row_length=room)
    kept = len(sentence) - found.left_out
    assert len(found.tokens_T) <= room
    # The next word would not have fitted.
    assert at[kept] + 1 <= room < at[kept + 1] + 1 or kept == 1
    np.testing.assert_array_equal(found.word_T[:-1], whole.word_T[: len(found.word_T) - 1])
  long = encode(['ab' * 100, 'x'], tokenizer, row_length=8)
  assert len(long.tokens_T) <= 8 and 0 in long.word_T
