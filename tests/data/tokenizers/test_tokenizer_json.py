"""tokenizer.json behind the common interface, against direct calls of the `tokenizers` library."""

import functools
import json

import numpy as np
import pytest
import tokenizers
from tokenizers import models
from tokenizers import normalizers
from tokenizers import pre_tokenizers
from tokenizers import trainers

from mlm_jax import config
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.tokenizers import json_documents
from mlm_jax.data.tokenizers import tokenizer_json
from tests.data.invented import odd_texts
from tests.data.invented import sentences
from tests.data.invented import settings
from tests.data.invented import words_of

OURS, THEIRS = (
  ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'),
  ('<s>', '<pad>', '</s>', '<unk>', '<mask>'),
)
TEXTS = (
  sentences(300)
  + ['naïve (café), x_1: 3.14!', '日本語の文です。東京へ行く', 'ไทย ภาษา', '[a] MASK'] * 20
)


def trained(model, trainer, stage, normalizer=None, special=OURS, **options):
  """Returns the document of a tokenizer that the library trains."""
  library = tokenizers.Tokenizer(model)
  library.pre_tokenizer = stage
  if normalizer:
    library.normalizer = normalizer
  library.train_from_iterator(
    TEXTS, trainer(vocab_size=450, special_tokens=list(special), show_progress=False, **options)
  )
  return json.loads(library.to_str())


def _trained(name):
  """Returns the document of a tokenizer.json of one of the known kinds."""
  white = pre_tokenizers.WhitespaceSplit()
  metaspace = lambda scheme='always': pre_tokenizers.Metaspace(prepend_scheme=scheme)
  byte_level = pre_tokenizers.ByteLevel(add_prefix_space=name == 'prefixed')
  word_piece = models.WordPiece(unk_token='[UNK]'), trainers.WordPieceTrainer
  unigram = models.Unigram(), trainers.UnigramTrainer
  byte_bpe = models.BPE(), trainers.BpeTrainer
  bpe = models.BPE(unk_token='<unk>', fuse_unk=name == 'bpe'), trainers.BpeTrainer
  options = dict(special=SPECIAL[name])
  if name in ('roberta', 'prefixed'):
    options |= dict(initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
  if name in ('unigram', 't5'):
    options |= dict(unk_token='[UNK]')
  if name == 'bert':
    options |= dict(normalizer=normalizers.BertNormalizer(lowercase=True))
  stages = {
    'bert': (*word_piece, pre_tokenizers.BertPreTokenizer()),
    'words': (*word_piece, white),
    'roberta': (*byte_bpe, byte_level),
    'prefixed': (*byte_bpe, byte_level),
    'unigram': (*unigram, metaspace()),
    'bpe': (*bpe, metaspace('first')),
    'bare': (*bpe, metaspace('never')),
    't5': (*unigram, pre_tokenizers.Sequence([white, metaspace()])),
  }
  return trained(*stages[name], **options)


NAMES = ('bare', 'bert', 'bpe', 'prefixed', 'roberta', 't5', 'unigram', 'words')
SPECIAL = {name: THEIRS if name in ('roberta', 'bpe', 'bare') else OURS for name in NAMES}
LOSSLESS = ('roberta', 'prefixed')


class Documents(dict):
  """{name: document}, each trained when it is asked for; not to be changed."""

  def __missing__(self, name):
    return self.setdefault(name, _trained(name))


DOCUMENTS = Documents()


@functools.cache
def ours_of(kind, size):
  """Returns our Tokenizer of a kind, trained to a size."""
  return tokenizer_lib.make(tokenizer_lib.train(TEXTS, settings(tokenizer=kind, vocab_size=size)))


def made(document, **options):
  return tokenizer_lib.make(json.dumps(document).encode(), 'x.json', **options)


# One of each model and each way to mark words; the others mix them otherwise.
DRILLED = ('bert', 'roberta', 'bpe', 't5')


@pytest.fixture(
  scope='module',
  params=[
    each if each in DRILLED else pytest.param(each, marks=pytest.mark.slow) for each in NAMES
  ],
)
def name(request):
  return request.param


@pytest.fixture(scope='module')
def tokenizer(name):
  return made(DOCUMENTS[name])


@pytest.fixture(scope='module')
def plain(name):
  return tokenizers.Tokenizer.from_str(json.dumps(DOCUMENTS[name]))


def texts_without_names(n, data):
  return [text for text in odd_texts(n, data) if not any(each in text for each in OURS + THEIRS)]


@pytest.mark.parametrize('space', ['collapse', 'keep'])
def test_ids_are_those_of_the_library(name, tokenizer, plain, space):
  texts = texts_without_names(500, settings(white_space=space, control_characters='keep')) + ['']
  wanted = [plain.encode(text).ids for text in texts]
  assert [tokenizer.encode(text) for text in texts] == wanted
  assert [tokenizer.encode_with_masks(text) for text in texts] == wanted
  for threads in (1, 3):
    batch = made(DOCUMENTS[name], threads=threads).encode_batch(texts)
    assert [ids.tolist() for ids in batch] == wanted and {ids.dtype for ids in batch} == {
      np.dtype(np.int32)
    }


def test_what_is_put_around_or_cut_off_or_drawn_is_left_out(name, tokenizer):
  cls, sep = (SPECIAL[name][i] for i in ((2, 3) if SPECIAL[name] is OURS else (0, 2)))
  document = DOCUMENTS[name] | {
    'truncation': {'direction': 'Right', 'max_length': 3, 'strategy': 'LongestFirst', 'stride': 0},
    'padding': {
      'strategy': {'Fixed': 9},
      'direction': 'Right',
      'pad_to_multiple_of': None,
      'pad_id': 0,
      'pad_type_id': 0,
      'pad_token': '[PAD]',
    },
    'post_processor': json_documents.around((cls, tokenizer.cls_id), (sep, tokenizer.sep_id)),
  }
  if document['model']['type'] == 'BPE':
    document['model'] = document['model'] | {'dropout': 0.9}
  changed = made(document)
  for text in texts_without_names(50, settings()):
    assert changed.encode(text) == tokenizer.encode(text)


def test_no_text_forges_a_special_piece(name, tokenizer, plain):
  names = SPECIAL[name]
  text = f'{names[4]} {names[3]}{names[2]} a{names[0]} ' + ' '.join(OURS + THEIRS)
  forged = set(tokenizer.special_ids) - {tokenizer.unk_id}
  assert not forged & set(tokenizer.encode(text))
  assert forged <= set(plain.encode(text).ids)  # as the library has it
  # The model alone, without its list of added tokens, is not to take it either.
  document = DOCUMENTS[name] | {'added_tokens': []}
  assert not forged & set(made(document).encode(text))
  # Nor where its names are looked for in the normalised text.
  tokens = [each | {'normalized': True} for each in DOCUMENTS[name]['added_tokens']]
  plain_letters = {
    'type': 'Sequence',
    'normalizers': [
      {'type': 'Lowercase'},
      {'type': 'Replace', 'pattern': {'Regex': '[^a-z<>/ \\[\\]]'}, 'content': ''},
    ],
  }
  document = DOCUMENTS[name] | {'added_tokens': tokens, 'normalizer': plain_letters}
  assert not forged & set(made(document).encode(text))
  if name in LOSSLESS:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_pieces_go_by_their_names(name, tokenizer):
  roles = (
    ('pad', 'unk', 'cls', 'sep', 'mask')
    if SPECIAL[name] is OURS
    else ('cls', 'pad', 'sep', 'unk', 'mask')
  )
  assert [getattr(tokenizer, f'{role}_id') for role in roles] == [0, 1, 2, 3, 4]
  assert tokenizer.special_ids == (0, 1, 2, 3, 4) and tokenizer.size == 450
  assert [tokenizer.piece(i) for i in range(5)] == list(SPECIAL[name])
  table = tokenizer.table(np.ones(450))
  assert (table.size, table.mask_id, table.special_ids) == (450, 4, (0, 1, 2, 3, 4))


# In which it stands at an end, beside spaces, punctuation, line ends and other masks.
MASKED = (
  *('[MASK]', ' [MASK]', '[MASK] ', '[MASK][MASK]', '[MASK] [MASK]', ' [MASK]  [MASK] fi'),
  *('[MASK] du.', 'fi [MASK].', 'fi [MASK] .', 'fi, [MASK], du', 'fi.[MASK] du', '([MASK])'),
  *('fi  [MASK]  du', 'fi\n[MASK]\tdu', 'fi\u00a0[MASK] du', '"[MASK]" fi-[MASK]-du!', ' fi[MASK]'),
)


@pytest.mark.parametrize('lstrip, rstrip', [(False, False), (True, False), (False, True)])
def test_beside_a_mask_a_text_is_cut_as_the_library_does_it(name, plain, lstrip, rstrip):
  document, mask = DOCUMENTS[name], SPECIAL[name][4]
  tokens = [
    each | {'lstrip': lstrip, 'rstrip': rstrip} if each['content'] == mask else each
    for each in document['added_tokens']
  ]
  changed = document | {'added_tokens': tokens}
  library, ours = tokenizers.Tokenizer.from_str(json.dumps(changed)), made(changed)
  for text in MASKED:
    wanted = library.encode(text.replace('[MASK]', mask), add_special_tokens=False).ids
    assert ours.encode_with_masks(text) == wanted, text
    assert wanted.count(ours.mask_id) == text.count('[MASK]')


def test_a_mask_that_is_no_added_token_is_found_all_the_same(name, tokenizer):
  tokens = [each for each in DOCUMENTS[name]['added_tokens'] if each['content'] != SPECIAL[name][4]]
  ours = made(DOCUMENTS[name] | {'added_tokens': tokens})
  assert [ours.encode_with_masks(text).count(ours.mask_id) for text in MASKED] == [
    text.count('[MASK]') for text in MASKED
  ]


@pytest.mark.parametrize('kind', json_documents.TRAINED)
def test_a_mask_takes_the_place_of_a_word(kind):
  ours = ours_of(kind, 450)
  encode, mask = ours.encode, ours.mask_id
  words = sentences(1)[0].removesuffix('.').split(' ')
  assert ours.encode_with_masks('[MASK] [MASK][MASK]') == [mask] * 3
  for i in range(len(words)):
    ids = ours.encode_with_masks(' '.join(words[:i] + ['[MASK]'] + words[i + 1 :]))
    before = encode(' '.join(words[:i])) if i else []
    rest = encode(' '.join(words[:1] + words[i + 1 :]))[len(encode(words[0])) :]
    assert ids == before + [mask] + rest
  whole = encode(words[0] + '.')
  assert ours.encode_with_masks('[MASK].') == [mask, whole[-1]]
  assert ours.encode_with_masks(f'{words[0]} [MASK].') == encode(words[0]) + [mask, whole[-1]]


def test_what_a_piece_decodes_to_is_what_the_library_says(name, tokenizer, plain):
  for i in range(tokenizer.size):
    assert tokenizer.text_of(i) == plain.decode([i], skip_special_tokens=False)


def test_words_are_those_between_spaces(name, tokenizer):
  for text in sentences(30):
    words = (text.lower() if name == 'bert' else text).removesuffix('.').split(' ')
    found = [word for word in words_of(tokenizer, text) if word]
    # Where white space alone separates words, a piece may end in the full stop.
    assert (
      found == words + ['.']
      or name not in ('bert', 'roberta', 'prefixed')
      and (found == words[:-1] + [words[-1] + '.'])
    )


@pytest.mark.parametrize('kind', json_documents.TRAINED)
def test_punctuation_and_characters_without_spaces_are_words(kind):
  ours = ours_of(kind, 640)
  assert [w for w in words_of(ours, 'naïve (café) , x_1') if w] == [
    'naïve',
    '(',
    'café',
    ')',
    ',',
    'x',
    '_',
    '1',
  ]
  assert words_of(ours, '文語日') == list('文語日')
  named = {ours.piece(i): i for i in range(ours.size)}
  for piece, starts, ends, closes, letters in (
    ('.', 1, 1, 1, 0),
    (',', 1, 1, 0, 0),
    ('▁fi', 1, 0, 0, 1),
    ('fi', 0, 0, 0, 1),
    ('。', 1, 1, 1, 0),
    ('日', 1, 1, 0, 1),
    ('[SEP]', 1, 1, 0, 0),
  ):
    if piece in named or piece not in '日。':
      i = named[piece]
      found = ours.starts_V[i], ours.ends_V[i], ours.closes_V[i], ours.letters_V[i]
      assert found == (starts, ends, closes, letters), piece


def test_parts_of_characters_go_with_the_character_they_begin():
  bytes_ = ours_of('byte_bpe', 400)
  named = {bytes_.piece(i): i for i in range(bytes_.size)}
  partial = [i for piece, i in named.items() if '<0x' in piece]
  assert bytes_.byte_ids == tuple(sorted(partial)) and len(partial) >= 128
  # Lead bytes of Han and kana begin a word; those of Latin and Greek and continuation bytes do not.
  for piece, starts in (
    ('<0xE6>', 1),
    ('<0xE3>', 1),
    ('<0xE3><0x81>', 1),
    ('<0xE0><0xB8>', 1),
    ('<0xC3>', 0),
    ('<0xCE>', 0),
    ('<0xE2>', 0),
    ('<0x97>', 0),
    ('▁', 1),
    ('\n', 1),
    ('a', 0),
  ):
    assert bytes_.starts_V[named[piece]] == starts, piece
  assert not bytes_.ends_V[partial].any() and bytes_.letters_V[partial].all()
  assert words_of(bytes_, '東京へ') == list('東京へ')
  assert words_of(bytes_, 'Ðà ñ') == ['Ðà', 'ñ']


@pytest.mark.parametrize('stretch', [1 << 18, 40])
def test_each_piece_is_where_its_first_letter_is(name, tokenizer, monkeypatch, stretch):
  texts = texts_without_names(300, settings()) + ['', ' '.join(sentences(20))]
  whole = [tokenizer.encode(text) for text in texts]
  monkeypatch.setattr(tokenizer_json, '_STRETCH', stretch)
  for text, wanted in zip(texts, whole):
    ids, places = tokenizer.encode_with_places(text)
    assert ids.tolist() == tokenizer.encode(text) == wanted and places.dtype == np.int64
    assert len(places) == len(ids) and (np.diff(places) >= 0).all()
    for i, place, after in zip(ids, places, [*places[1:], len(text)]):
      bare = tokenizer.piece(i).lstrip('\u2581')
      assert place == len(text) or not text[place].isspace()
      if i not in tokenizer.byte_ids and i not in tokenizer.special_ids and bare:
        there = text[place:].lower() if name == 'bert' else text[place:]
        assert there.startswith(bare[0]) or name == 'bert' and not text[place].isascii(), (
          text,
          bare,
        )
      elif i in tokenizer.byte_ids and not bare.startswith('<0x8'):
        assert place <= after


@pytest.mark.parametrize('space', ['collapse', 'keep'])
def test_byte_bpe_spells_every_text(space):
  data = settings(white_space=space, control_characters='keep')
  ours = ours_of('byte_bpe', 450)
  for text in odd_texts(1000, data):
    assert ours.decode(ours.encode(text)) == text


def test_wordpiece_keeps_letters_and_says_what_it_does_not_know():
  ours = ours_of('wordpiece', 450)
  for text in sentences(50, seed=4):
    assert ours.decode(ours.encode(text)) == text
  assert ours.encode('Ünknown ☃') == [ours.unk_id] * 2
  assert (
    ours.decode([ours.cls_id, *ours.encode('fi ☃ du.'), ours.sep_id, ours.pad_id])
    == '[CLS] fi [UNK] du. [SEP]'
  )


@pytest.mark.parametrize('kind', json_documents.TRAINED)
def test_training_again_gives_the_same_bytes(kind):
  data = settings(tokenizer=kind, vocab_size=450)
  first, *others = (tokenizer_lib.train(TEXTS, data) for _ in range(4))
  assert others == [first] * 3
  ours = tokenizer_lib.make(first)
  assert ours.size == 450 and [ours.piece(i) for i in ours.special_ids] == list(OURS)
  assert tokenizer_lib.train(TEXTS[::-1], data) == first


@pytest.mark.parametrize('kind', json_documents.TRAINED)
def test_a_vocabulary_that_the_corpus_cannot_give_is_refused(kind):
  with pytest.raises(
    config.UserError, match=r'config.data.vocab_size = 8000: .*at most (\d+) pieces; lower it'
  ) as e:
    tokenizer_lib.train(TEXTS, settings(tokenizer=kind, vocab_size=8000))
  most = int(str(e.value).split('at most ')[1].split()[0])
  assert (
    tokenizer_lib.make(tokenizer_lib.train(TEXTS, settings(tokenizer=kind, vocab_size=most))).size
    == most
  )


def test_the_pieces_of_a_wordpiece_occur_twice():
  ours = ours_of('wordpiece', 450)
  ids = np.concatenate(ours.encode_batch(TEXTS))
  assert len(set(ids.tolist())) > 250


def edited(document, **changes):
  model = document['model'] | changes.pop('model', {})
  return document | changes | {'model': model}


def without(document, *names):
  """Returns a document without some special pieces."""
  vocab = {
    f'[x{i}]' if each in names else each: i for each, i in document['model']['vocab'].items()
  }
  tokens = [each for each in document['added_tokens'] if each['content'] not in names]
  return edited(document, model={'vocab': vocab}, added_tokens=tokens)


@pytest.mark.parametrize(
  'kind, altered, message',
  [
    ('bert', lambda each: without(each, '[MASK]'), 'has no mask piece'),
    ('roberta', lambda each: without(each, '<pad>'), 'has no pad piece'),
    ('bert', lambda each: without(each, '[CLS]'), 'has no cls piece'),
    ('bert', lambda each: without(each, '[UNK]'), 'has no unk piece'),
    ('bpe', lambda each: edited(each, model={'unk_token': None}), 'has no unk piece'),
    ('unigram', lambda each: edited(each, model={'unk_id': None}), 'has no unk piece'),
    ('bert', lambda each: edited(each, model={'unk_token': '[SEP]'}), 'share an id'),
    (
      'bpe',
      lambda each: edited(each, model={'end_of_word_suffix': '</w>'}),
      'BPE tokenizer that marks words as this one does is not known',
    ),
    (
      'unigram',
      lambda each: edited(each, pre_tokenizer={'type': 'WhitespaceSplit'}),
      'Unigram tokenizer that marks words .* give a Word',
    ),
    (
      'bpe',
      lambda each: edited(each, pre_tokenizer={'type': 'Whitespace'}),
      'BPE tokenizer that marks words',
    ),
    ('bert', lambda each: edited(each, model={'type': 'WordLevel'}), 'WordLevel tokenizer'),
    ('bert', lambda each: edited(each, model={'vocab': 7}), 'not a tokenizer.json, or is damaged'),
    ('bert', lambda each: {'model': None}, 'not a tokenizer.json, or is damaged'),
  ],
)
def test_what_cannot_be_used_is_refused(kind, altered, message):
  with pytest.raises(config.UserError, match=f'x.json.*{message}') as e:
    made(altered(DOCUMENTS[kind]))
  assert '\n' not in str(e.value)


def test_a_file_is_taken_by_its_content(tmp_path):
  path = tmp_path / 'any.name'
  path.write_text(json.dumps(DOCUMENTS['roberta'], indent=1))
  assert tokenizer_lib.load(path).piece(4) == '<mask>'
  path.write_bytes(path.read_bytes()[:500])
  with pytest.raises(config.UserError, match='any.name is not a tokenizer.json, or is damaged'):
    tokenizer_lib.load(path)


def test_byte_level_needs_no_unknown_piece():
  tokenizer = made(without(DOCUMENTS['roberta'], '<unk>'))
  assert tokenizer.unk_id is None and tokenizer.special_ids == (0, 1, 2, 4)
  assert tokenizer.decode([tokenizer.cls_id, *tokenizer.encode('Ω☃')]) == '[CLS] Ω☃'.replace(
    ' ', ''
  )


def test_nor_does_a_tokenizer_with_a_piece_for_each_byte():
  vocab = DOCUMENTS['bpe']['model']['vocab'] | {
    f'<0x{byte:02X}>': 450 + byte for byte in range(256)
  }
  document = edited(
    without(DOCUMENTS['bpe'], '<unk>'),
    model={
      'vocab': without(edited(DOCUMENTS['bpe'], model={'vocab': vocab}), '<unk>')['model']['vocab'],
      'unk_token': None,
      'byte_fallback': True,
    },
  )
  tokenizer = made(document)
  assert tokenizer.unk_id is None and tokenizer.byte_ids == tuple(range(450, 706))
  assert tokenizer.decode(tokenizer.encode('Ω☃ fi')) == 'Ω☃ fi'
  with pytest.raises(config.UserError, match='has no unk piece'):
    made(edited(document, model={'byte_fallback': False}))


def test_an_id_that_no_piece_has_is_special():
  vocab = {
    each: i if i < 440 else i + 5 for each, i in DOCUMENTS['roberta']['model']['vocab'].items()
  }
  tokenizer = made(edited(DOCUMENTS['roberta'], model={'vocab': vocab}))
  assert tokenizer.size == 455 and tokenizer.special_ids == (*range(5), *range(440, 445))
  assert tokenizer.decode(tokenizer.encode('a Ω☃')) == 'a Ω☃'


def test_added_tokens_are_text_or_special_as_the_file_says():
  entry = json_documents.added_token
  tokens = [
    entry('<|end|>', 450),
    entry('<|ip|>', 451) | {'special': False},
    entry('éé', 452) | {'special': False},
  ]
  document = edited(
    DOCUMENTS['roberta'], added_tokens=DOCUMENTS['roberta']['added_tokens'] + tokens
  )
  tokenizer = made(document)
  assert tokenizer.size == 453 and tokenizer.special_ids == (*range(5), 450)
  text = 'a <|ip|> éé b'
  assert {451, 452} < set(tokenizer.encode(text))
  assert (
    tokenizer.encode(text) == tokenizers.Tokenizer.from_str(json.dumps(document)).encode(text).ids
  )
  assert 450 in tokenizer.encode('a <|end|>')
  assert tokenizer.decode(tokenizer.encode(text + ' <|end|>')) == text + ' <|end|>'
  tokens[1]['id'] = 455
  with pytest.raises(
    config.UserError, match=r'the added token <\|ip\|> has the id 455; .* without a gap'
  ):
    made(
      edited(DOCUMENTS['roberta'], added_tokens=DOCUMENTS['roberta']['added_tokens'] + tokens[:2])
    )
