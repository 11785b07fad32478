import sys
import unicodedata

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data import annotations
from mlm_jax.data import prepare as prepare_lib
from mlm_jax.data.annotations import word_classes
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import sources
from mlm_jax.data.corpus.formats import conllu
from tests.data.invented import sentences
from tests.data.invented import settings

TAGGER = '''
import re

def shapes(text):
  """Returns the words of a text, by their first letters."""
  kinds = lambda word: 'number' if word[0].isdigit() else 'name' if word[0].isupper() else 'other'
  return [(*match.span(), kinds(match[0])) for match in re.finditer(r'\\w+', text)]

def fails(text):
  raise ValueError('no model\\nloaded')

def pairs(text):
  return [(0, 1)]

def nothing(text):
  return None

def outside(text):
  return [(0, 1, 'a'), (1, len(text) + 1, 'b')]

def empty(text):
  return [(1, 1, 'a')]

def negative(text):
  return [(-2, 1, 'a')]

def halves(text):
  return [(0, 1.5, 'a')]

def unnamed(text):
  return [(0, 1, '')]

def numbered(text):
  return [(0, 1, 7)]

def overlaps(text):
  return [(2, 4, 'a'), (0, 3, 'b')]

many_made = 0

def many(text):
  global many_made
  many_made += 1
  return [(0, 1, f'c{many_made}')]

constant = 3
'''


@pytest.fixture
def tagger(tmp_path, monkeypatch):
  """Puts a module into the working directory; gives its name."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, 'path', list(sys.path))
  (tmp_path / 'tagger_of_test.py').write_text(TAGGER)
  (tmp_path / 'broken_of_test.py').write_text('import absent_of_test\n')
  (tmp_path / 'leaves_of_test.py').write_text('import sys\nsys.exit(3)\n')
  (tmp_path / 'a.txt').write_text('\n'.join(sentences(300)))
  yield 'tagger_of_test'
  for name in ('tagger_of_test', 'broken_of_test', 'leaves_of_test'):
    sys.modules.pop(name, None)


def prepare(directory, **changes):
  return prepare_lib.prepare(settings(**changes), directory, log=lambda line: None)


def words_and_classes(prepared):
  """Yields (word, class name or '') of every word that is whole in the rows, read from their
  tokens.
  """
  tokenizer = prepared.tokenizer
  for split in (*prepared.train, *prepared.validation):
    for row, classes_L in zip(split.tokens_RL, split.columns['classes_BL'][:]):
      ordinary_L = ~np.isin(row, tokenizer.special_ids)
      before = np.roll(row, 1)
      starts_L = ordinary_L & (
        tokenizer.starts_V[row] | tokenizer.ends_V[before] | ~np.roll(ordinary_L, 1)
      )
      assert not classes_L[~ordinary_L].any()
      for begin in np.flatnonzero(starts_L):
        end = next(
          (i for i in range(begin + 1, len(row)) if starts_L[i] or not ordinary_L[i]), len(row)
        )
        cut = end == len(row) or not ordinary_L[begin - 1] or not ordinary_L[end]
        numbers = set(classes_L[begin:end].tolist())
        assert cut or len(numbers) == 1
        if not cut:
          yield tokenizer.decode(row[begin:end]).strip(), (('', *prepared.classes)[numbers.pop()])


def test_a_functions_words_reach_their_tokens(tagger, tmp_path):
  text = '\n'.join(f'{line} {i} Élan 日本語 naïve' for i, line in enumerate(sentences(300)))
  (tmp_path / 'a.txt').write_text(text)
  prepared = prepare(tmp_path / 'data', source='text:a.txt', classes=f'{tagger}:shapes')
  assert prepared.classes == prepared.table.classes == ('name', 'number', 'other')
  seen = dict.fromkeys(('name', 'number', 'other', ''), 0)
  for word, name in words_and_classes(prepared):
    if not word:  # a space before letters that are words of their own
      continue
    wanted = (
      ''
      if not word[0].isalnum()
      else 'number'
      if word[0].isdigit()
      else ('name' if word[0].isupper() else 'other')
    )
    assert name == wanted, word
    seen[name] += 1
  assert min(seen.values()) > 30
  for split in ('train', 'validation'):
    counts = prepared.manifest['sources'][0][split]['classes']
    (rows,) = prepared.split(split)
    assert counts == {
      name: int((rows.columns['classes_BL'][:] == i).sum())
      for i, name in enumerate(prepared.classes, 1)
    }


def treebank(path, documents):
  """Writes documents, each a list of (form, tag, gap)."""
  lines = []
  for document in documents:
    lines.append('# newdoc')
    for number, (form, tag, gap) in enumerate(document, 1):
      misc = '_' if gap else 'SpaceAfter=No'
      lines.append(f'{number}\t{form}\t_\t{tag}\t_\t_\t_\t_\t_\t{misc}')
    lines.append('')
  path.write_text('\n'.join(lines), encoding='utf-8')


def test_the_classes_of_a_treebank_stay_with_their_words_through_cleaning(tmp_path):
  """Each word's class is given by its first letter; cleaning changes the length of many."""
  tags = {'b': 'NOUN', 'd': 'VERB', 'f': 'ADJ', 'g': 'PROPN', 'k': 'DET', 'l': 'PRON'}
  ending = ['', 'e\u0301', '\x07', 'a\ufeffx', '\u1112\u1161', 'ﬁ', 'n\xa0n'.replace('\xa0', '')]
  draw = np.random.default_rng(0)
  words = [
    f'{letter}{"aeiou"[i % 5]}{ending[i % len(ending)]}{"" if i % 3 else "lo"}'
    for i in range(60)
    for letter in tags
  ]
  documents = [
    [(str(word), tags[word[0]], ' ') for word in draw.choice(words, draw.integers(4, 60))]
    for _ in range(300)
  ]
  treebank(tmp_path / 'a.conllu', documents)
  prepared = prepare(
    tmp_path / 'data',
    source=f'conllu:{tmp_path}/a.conllu',
    classes='conllu',
    unicode='NFKC',
    vocab_size=420,
  )
  assert prepared.classes == conllu.UPOS == tuple(sorted(conllu.UPOS))
  seen = set()
  for word, name in words_and_classes(prepared):
    assert name == tags[word[0]], word
    seen.add(word)
  wanted = {unicodedata.normalize('NFKC', clean.normalize(word, settings())) for word in words}
  assert len(seen & wanted) > 0.9 * len(wanted)


def test_characters_have_the_class_of_the_word_that_holds_them():
  words = [
    conllu.Word('caf', 'NOUN', ''),
    conllu.Word('\u0301', 'PART', ''),
    conllu.Word('e\u0301', 'VERB', ' '),
    conllu.Word('!', '', ''),
  ]
  annotator = word_classes.FromTreebank(settings())
  text = clean.normalize('  caf\u0301e\u0301 !', settings())
  assert text == 'caf\u0301é !'
  number = {name: i for i, name in enumerate(('', *conllu.UPOS))}
  assert [('', *conllu.UPOS)[i] for i in annotator.values(text, words)] == ['NOUN'] * 4 + [
    'VERB',
    '',
    '',
  ]
  assert annotator.sorted_from[number['VERB']] == number['VERB']


def test_words_that_are_not_those_of_the_text_are_refused():
  words = [conllu.Word('one', 'NUM', ' '), conllu.Word('two', 'NUM', '')]
  annotator = word_classes.FromTreebank(settings())
  assert annotator.values('one two', words).all(where=[1, 1, 1, 0, 1, 1, 1])
  with pytest.raises(config.UserError, match="begins 'one twos': cleaning changes its words"):
    annotator.values('one twos', words)


def test_classes_are_numbered_by_their_sorted_names(tagger):
  annotator = word_classes.FromFunction(f'{tagger}:shapes')
  numbers = annotator.values('ab 1 Cd').tolist()
  assert numbers == [1, 1, 0, 2, 0, 3, 3]
  assert annotator.names == ('name', 'number', 'other')
  assert annotator.sorted_from[numbers].tolist() == [3, 3, 0, 2, 0, 1, 1]


@pytest.mark.parametrize(
  'name, message',
  [
    (
      'tagger_of_test:absent',
      "classes = 'tagger_of_test:absent' cannot be imported .*no attribute",
    ),
    (
      'absent_of_test:shapes',
      "cannot be imported .ModuleNotFoundError: No module named 'absent_of_test'",
    ),
    ('broken_of_test:shapes', 'cannot be imported .ModuleNotFoundError'),
    ('leaves_of_test:shapes', 'cannot be imported .SystemExit'),
    ('.x:y', 'cannot be imported .TypeError'),
    ('tagger_of_test:constant', 'is not a function, but 3'),
    ('tagger_of_test', 'must be conllu, module:function'),
    ('tagger_of_test:', 'must be conllu, module:function'),
    (':shapes', 'must be conllu, module:function'),
    ('conllu', "config.data.classes = 'conllu': text:a.txt has no parts of speech"),
    ('tagger_of_test:fails', 'must return .* ValueError: no model loaded$'),
    ('tagger_of_test:pairs', 'must return .* ValueError: not enough values'),
    ('tagger_of_test:nothing', 'must return .* TypeError'),
    (
      'tagger_of_test:outside',
      r"returned \(1, \d+, 'b'\) for the document that begins '.*: begin and end",
    ),
    ('tagger_of_test:empty', r"returned \(1, 1, 'a'\)"),
    ('tagger_of_test:negative', r"returned \(-2, 1, 'a'\)"),
    ('tagger_of_test:halves', r"returned \(0, 1.5, 'a'\)"),
    ('tagger_of_test:unnamed', 'name of a class must be'),
    ('tagger_of_test:numbered', 'name of a class must be'),
    ('tagger_of_test:overlaps', r"returned \(0, 3, 'b'\) .* overlaps another"),
    ('tagger_of_test:many', 'more than 254 classes'),
  ],
)
def test_every_mistake_of_a_function_is_reported_in_a_line_that_names_it(
  tagger, tmp_path, name, message
):
  with pytest.raises(config.UserError, match=message) as error:
    prepare('data', source='text:a.txt', classes=name)
  assert '\n' not in str(error.value) and 'config.data.classes' in str(error.value)
  assert not (tmp_path / 'data').exists() and not (tmp_path / 'data.building').exists()


def test_as_many_classes_as_a_byte_holds_are_kept(tagger):
  annotator = word_classes.FromFunction(f'{tagger}:many')
  for _ in range(word_classes.MOST):
    annotator.values('ab')
  assert len(annotator.names) == 254
  assert sorted(annotator.sorted_from.tolist()) == [
    0,
    *range(255),
  ]  # and one for the byte that is not used


def test_without_the_setting_there_are_none():
  assert not annotations.makers(settings(), sources.parse(settings(source='pydocs')))
