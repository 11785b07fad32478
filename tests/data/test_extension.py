"""Words that become pieces: which ones, and that nothing else is cut otherwise than before."""

import collections
import json
import random

import pytest

from mlm_jax import config as config_lib
from mlm_jax.data import extension
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.tokenizers import extending
from mlm_jax.huggingface import exported_tokenizers
from tests.data.invented import sentences
from tests.data.invented import settings
from tests.huggingface.test_exported_tokenizers import CLEANED
from tests.huggingface.test_exported_tokenizers import train

KINDS = ('unigram', 'unigram_json', 'unigram_added', 'wordpiece', 'wordpiece_added')
DOMAIN = ('electrocardiogram', 'metabolismus', 'Übelkeit', 'β-blocker', '心電図ab')


def base(kind):
  """Returns a tokenizer to extend: trained, or as others may give it."""
  kind, _, form = kind.partition('_')
  ours = train(kind)
  if not form:
    return ours
  document = json.loads(exported_tokenizers.to_json(ours, CLEANED))
  if form == 'added':
    # A token that the vocabulary lacks, as some have their mask.
    token = document['added_tokens'][0] | {'id': ours.size, 'content': '<extra>'}
    document['added_tokens'].append(token)
  return tokenizer_lib.make(json.dumps(document).encode())


def domain_texts(seed=0):
  draw = random.Random(seed)
  common = ' '.join(sentences(40)).split()
  words = [*DOMAIN, *common]
  return [' '.join(draw.choices(words, k=30)) for _ in range(60)] + [' '.join(DOMAIN)] * 9


@pytest.fixture(scope='module', params=KINDS)
def pair(request):
  """(A tokenizer, what it was extended by, the extended one)."""
  before = base(request.param)
  words = extension.chosen(before, domain_texts(), 8)
  model = extending.extended(before, [(piece, parts) for piece, parts, _ in words])
  return before, words, tokenizer_lib.make(model)


def test_each_new_word_is_one_piece_and_every_id_stays_what_it_was(pair):
  before, words, after = pair
  assert after.size == before.size + len(words)
  for i in range(before.size):
    assert after.piece(i) == before.piece(i)
  for role in ('pad', 'unk', 'cls', 'sep', 'mask'):
    assert getattr(after, f'{role}_id') == getattr(before, f'{role}_id')
  assert after.special_ids == before.special_ids
  for i, (piece, parts, _) in enumerate(words, before.size):
    word = piece.removeprefix(tokenizer_lib.BOUNDARY_MARK)
    assert after.piece(i) == piece and tuple(before.encode(word)) == parts and len(parts) > 1
    assert after.encode(word) == [i]
    around = after.encode(f'of {word} {word}, of'), before.encode(f'of {word} {word}, of')
    assert around[0].count(i) == 2 and len(around[1]) - len(around[0]) == 2 * (len(parts) - 1)
    # One unit for whole-word masking.
    assert after.starts_V[i] and after.letters_V[i] and not after.ends_V[i]
    assert after.decode(around[0]) == before.decode(around[1])


def test_what_has_no_new_word_is_cut_as_before(pair):
  before, words, after = pair
  new = [piece.removeprefix(tokenizer_lib.BOUNDARY_MARK) for piece, *_ in words]
  texts = [each for each in sentences(400, seed=9) if not any(word in each for word in new)]
  assert len(texts) > 20
  for text in [*texts, 'naïve (café), x_1: 3.14!', '日本語の文です。', '\U0001f600 ☃ ok']:
    assert after.encode(text) == before.encode(text), text


def test_the_words_are_those_that_save_most_tokens(pair):
  before, words, _ = pair
  counts = collections.Counter(word for text in domain_texts() for word in text.split())
  saves = {
    word: times * (len(before.encode(word)) - 1)
    for word, times in counts.items()
    # What has a mark of punctuation, or a script without spaces, in it is more than one unit.
    if times > 1 and word.isalpha() and word.isascii() or word == 'Übelkeit'
  }
  found = {piece.removeprefix(tokenizer_lib.BOUNDARY_MARK): saved for piece, _, saved in words}
  assert [saved for *_, saved in words] == sorted(found.values(), reverse=True)
  # Words stand alone in this text, so that each count is exact.
  assert {word: saves[word] for word in found if word in saves}.items() <= found.items()
  others = [saved for word, saved in saves.items() if word not in found]
  assert max(others) <= min(found.values())
  assert {'electrocardiogram', 'metabolismus'} <= set(found)


def test_neither_the_order_of_the_texts_nor_a_chance_decides(pair):
  before, words, _ = pair
  assert extension.chosen(before, reversed(domain_texts()), 8) == words


class Documents:
  """In place of a reading.Reading."""

  def __init__(self, **texts):
    self.texts = texts.__getitem__


def test_held_out_text_is_measured_and_decides_nothing(tmp_path):
  before, train_texts = base('wordpiece'), domain_texts()
  held_out = ['malinorosi ' * 400, 'of metabolismus']  # a word that would save most of all
  documents = Documents(train=train_texts, validation=held_out)
  data, lines = settings(tokenizer='wordpiece'), []
  after = extension.make(before, data, [documents], 8, tmp_path, lines.append)
  words = extension.chosen(before, train_texts, 8)
  found = extension.read(tmp_path)
  assert found is not None and (found.extends, found.first_id) == (before.sha256, before.size)
  assert list(zip(found.pieces, found.parts, found.saves)) == words
  assert len(before.encode('malinorosi')) == len(after.encode('malinorosi')) > 1
  for split, texts in (('train', train_texts), ('validation', held_out)):
    count = sum(len(text.split(' ')) for text in map(str.strip, texts))
    tokens = [sum(len(each.encode(text)) for text in texts) for each in (before, after)]
    assert found.tokens_per_word[split] == pytest.approx([each / count for each in tokens])
  assert len(lines) == 1 and f'{found.tokens_per_word["train"][1]:.3f}' in lines[0]


def test_a_damaged_file_of_an_extension_is_an_error_of_one_line(tmp_path):
  assert extension.read(tmp_path) is None
  for text in ('{', '[]', '{"pieces": []}'):
    (tmp_path / extension.FILE).write_text(text)
    with pytest.raises(config_lib.UserError, match='extension.json'):
      extension.read(tmp_path)


@pytest.mark.parametrize('kind, says', (('bpe', 'BPE'), ('word', 'word'), ('byte_bpe', 'BPE')))
def test_a_kind_that_cannot_be_extended_is_refused_with_those_that_can(kind, says):
  message = f'mine: a {says} tokenizer cannot be extended; a WordPiece and a unigram one can'
  with pytest.raises(config_lib.UserError, match=message):
    extending.check(train(kind), 'mine')


def test_more_words_than_there_are_is_an_error():
  with pytest.raises(
    config_lib.UserError, match='new_pieces = 9: the training text has 2 words of'
  ):
    extension.chosen(base('wordpiece'), ['metabolismus metabolismus electrocardiogram'] * 2, 9)
