import gzip
import random
import unicodedata

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import sources
from mlm_jax.data.corpus.formats import conllu
from tests.data.invented import read
from tests.data.invented import settings

SAMPLE = """\
# newdoc id = a
# text = "Don't go," he said.
1\t"\t"\tPUNCT\t_\t_\t_\t_\t_\tSpaceAfter=No
2-3\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tDo\tdo\tAUX\t_\t_\t_\t_\t_\t_
3\tn't\tnot\tPART\t_\t_\t_\t_\t_\t_
4\tgo\tgo\tVERB\t_\t_\t_\t_\t_\tX=y|SpaceAfter=No
5\t,\t,\tPUNCT\t_\t_\t_\t_\t_\tSpaceAfter=No
6\t"\t"\tPUNCT\t_\t_\t_\t_\t_\t_
6.1\tghost\t_\tVERB\t_\t_\t_\t_\t_\t_
7\the\the\tPRON\t_\t_\t_\t_\t_\t_
8\tsaid\tsay\tVERB\t_\t_\t_\t_\t_\tSpaceAfter=No
9\t.\t.\tPUNCT\t_\t_\t_\t_\t_\t_

# text = New York
1\tNew York\tNew York\tPROPN\t_\t_\t_\t_\t_\tSpaceAfter=No

# newpar
1\tEnd\tend\t_\t_\t_\t_\t_\t_\t_

#newdoc
1\t日本\t日本\tPROPN\t_\t_\t_\t_\t_\tSpaceAfter=No
2\t語\t語\tNOUN\t_\t_\t_\t_\t_\tSpaceAfter=No
"""


def line(number, form, tag='NOUN', misc='_'):
  return f'{number}\t{form}\t_\t{tag}\t_\t_\t_\t_\t_\t{misc}'


def annotated(path):
  data = settings(source=f'conllu:{path}')
  (source,) = sources.parse(data)
  return list(source.annotated(data, clean.Counts(), sources.Skipped()))


def test_a_document_is_put_together_from_its_words(tmp_path):
  (tmp_path / 'a.conllu').write_text(SAMPLE)
  first, second = annotated(tmp_path / '*')
  assert first[0] == '"Don\'t go," he said. New York\nEnd'
  assert [word[:2] for word in first[1]] == [
    ('"', 'PUNCT'),
    ("Don't", 'AUX'),
    ('go', 'VERB'),
    (',', 'PUNCT'),
    ('"', 'PUNCT'),
    ('he', 'PRON'),
    ('said', 'VERB'),
    ('.', 'PUNCT'),
    ('New York', 'PROPN'),
    ('End', ''),
  ]
  assert second == ('日本語', [('日本', 'PROPN', ''), ('語', 'NOUN', '')])


def test_a_file_without_marks_is_a_document_and_may_be_compressed(tmp_path):
  two = '\n'.join([line(1, 'one'), '', line(1, 'two')])
  (tmp_path / 'a.conllu.gz').write_bytes(gzip.compress(two.encode()))
  (tmp_path / 'b.conllu').write_text('# newpar\n' + line(1, 'three').replace('\n', '\r\n') + '\r\n')
  (tmp_path / 'c.conllu').write_bytes(bytes(range(256)) * 9)
  texts, _, skipped = read(f'conllu:{tmp_path}/*')
  assert texts == ['one two', 'three']
  assert skipped.files == [f'{tmp_path}/c.conllu']


@pytest.mark.parametrize(
  'lines, message',
  [
    ([line(1, 'a'), 'word'], 'line 2 is not CoNLL-U: it must have 10 columns'),
    ([line('x', 'a')], 'line 1 is not CoNLL-U'),
    ([line(1, '')], 'line 1 is not CoNLL-U'),
    ([line(1, 'a').replace('\t', ' ')], 'line 1 is not CoNLL-U'),
    ([line(1, 'a', 'NN')], "line 1: 'NN' is none of the 17 universal parts of speech"),
    (
      [line('1-2', 'ab', '_'), line(2, 'b')],
      'line 2 is not CoNLL-U: 2 is out of order, word 1 .* is next',
    ),
    ([line('1-2', 'ab', '_')], 'line 1 is not CoNLL-U: word 1 of its sentence is missing'),
    (
      [line('1-2', 'ab', '_'), line(1, 'a')],
      'line 2 is not CoNLL-U: word 2 of its sentence is missing',
    ),
    (
      [line(1, 'a'), '', '# newdoc', line(1, 'a'), '# newdoc id = b', line(1, 'b')],
      'line 5 is not CoNLL-U: a blank line must end the sentence before it',
    ),
    ([line(1, 'a'), '#newpar'], 'line 2 is not CoNLL-U: a blank line'),
  ],
)
def test_an_invalid_line_is_named(tmp_path, lines, message):
  (tmp_path / 'a.conllu').write_text('\n'.join(lines))
  with pytest.raises(config.UserError, match=message):
    annotated(tmp_path / 'a.conllu')


def identified(*numbers):
  """Returns lines with these numbers."""
  return [line(number, 'w', 'X' if str(number).isdigit() else '_') for number in numbers]


@pytest.mark.parametrize(
  'numbers, at, wanted',
  [
    (['1-2', 2, 1], 2, 1),
    ([1, 2, 2], 3, 3),
    (['2-1', 1, 2], 1, 1),
    ([1, '2-1', 2], 2, 2),
    ([2, 3], 1, 1),
    ([0, 1], 1, 1),
    ([1, 3], 2, 2),
    ([1, '3-4', 2, 3, 4], 2, 2),
    (['1-2', '1-2', 1, 2], 2, 1),
    (['1-3', 1, '2-3', 2, 3], 3, 2),
    ([1, '2.1', 2], 2, 2),
    ([1, '1.2', 2], 2, 2),
    ([1, '1.1', '1.1', 2], 3, 2),
    ([1, 2, '1.1'], 3, 3),
    (['1-2', 1, 1, 2], 3, 2),
  ],
)
def test_numbers_that_do_not_ascend_are_refused(tmp_path, numbers, at, wanted):
  (tmp_path / 'a.conllu').write_text('\n'.join([*identified(1), '', *identified(*numbers)]))
  says = (
    rf'a\.conllu line {at + 2} is not CoNLL-U: {numbers[at - 1]} is out of order, '
    f'word {wanted} of its'
  )
  with pytest.raises(config.UserError, match=says):
    annotated(tmp_path / 'a.conllu')


@pytest.mark.parametrize(
  'numbers, words',
  [
    (['0.1', '0.2', 1, '1.1', 2], 2),
    (['1-1', 1], 1),
    (['1-2', 1, '1.1', 2, '2.1', '3-3', 3, '4-6', 4, 5, 6, 7], 4),
  ],
)
def test_numbers_that_ascend_are_those_of_the_format(tmp_path, numbers, words):
  (tmp_path / 'a.conllu').write_text('\n'.join(identified(*numbers)))
  ((_, found),) = annotated(tmp_path / 'a.conllu')
  assert [word.form for word in found] == ['w'] * words


def test_no_such_file_is_refused_under_the_sources_own_name(tmp_path):
  with pytest.raises(config.UserError, match='^conllu:.* matches no file'):
    read(f'conllu:{tmp_path}/*.conllu')
  with pytest.raises(config.UserError, match=r'^conllu:.* is a folder; write conllu:.*/\*.conllu'):
    read(f'conllu:{tmp_path}')


def test_the_texts_of_a_treebank_are_those_that_its_makers_give(shared):
  path = shared / 'ud_english_ewt' / 'en_ewt-ud-dev.conllu'
  wanted = [
    line.removeprefix('# text = ').strip()
    for line in path.read_text().splitlines()
    if line.startswith('# text = ')
  ]
  documents = annotated(path)
  assert len(documents) == 318 and len(wanted) == 2001
  squeezed = lambda texts: ''.join(''.join(texts).split())
  assert squeezed(text for text, _ in documents) == squeezed(wanted)
  joined = ' '.join(' '.join(text.split()) for text, _ in documents)
  assert sum(' '.join(text.split()) in joined for text in wanted) == len(wanted)


@pytest.mark.parametrize('form', ['NFC', 'NFKC', 'none'])
def test_what_cleaning_makes_of_the_words_is_what_it_makes_of_the_text(form):
  draw = random.Random(0)
  letters = [
    'a',
    'e',
    'b',
    '\u0301',
    '\u0323',
    '\u0327',
    'ﬁ',
    '½',
    '\u2581',
    '\x07',
    '\ufeff',
    '\xa0',
    '\u1100',
    '\u1161',
    '\u11a8',
    'é',
    '日',
    '\u0b47',
    '\u0b57',
    ' ',
    '\u00b4',
    '\u0f71',
    '\u0f72',
  ]
  made = {
    (control, white): settings(unicode=form, control_characters=control, white_space=white)
    for control in ('keep', 'remove')
    for white in ('keep', 'collapse')
  }
  merged = 0
  for _ in range(300):
    data = made[draw.choice(['keep', 'remove']), draw.choice(['keep', 'collapse'])]
    form_of = lambda: ''.join(draw.choices(letters, k=draw.randint(1, 3)))
    words = [
      conllu.Word(form_of(), str(i), draw.choice(['', '', ' ', '\n']))
      for i in range(draw.randint(1, 6))
    ]
    text = clean.normalize(''.join(word.form + word.gap for word in words), data)
    carried = conllu.carried(words, data)
    merged += len(carried) < len(words)
    assert sum(n for n, _ in carried) == len(''.join(text.split())), words
    assert [tag for _, tag in carried] == sorted({tag for _, tag in carried}, key=int)
  assert merged > 20


def test_each_word_keeps_its_letters_where_cleaning_changes_their_number():
  forms = ['na\u0131\u0308ve', 'e\u0301te\u0301', '\x07\x07x\x07', 'ﬁve', 'n\xa0o']
  words = [conllu.Word(form, 'X', ' ') for form in forms]
  data = settings(unicode='NFKC')
  assert [n for n, _ in conllu.carried(words, data)] == [
    len(unicodedata.normalize('NFKC', forms[0])),
    3,
    1,
    4,
    2,
  ]
  assert np.all([tag == 'X' for _, tag in conllu.carried(words, data)])


def test_a_mark_goes_with_the_word_that_it_composes_with():
  words = [
    conllu.Word('cafe', 'NOUN', ''),
    conllu.Word('\u0301s', 'PART', ' '),
    conllu.Word('\u0301', 'SYM', ''),
  ]
  assert conllu.carried(words, settings()) == [(5, 'NOUN'), (1, 'SYM')]
  # Marks that change places; a mark after what is removed.
  for forms in (['b', '\u0301', '\u0323'], ['a', '\x07', '\u0301']):
    words = [conllu.Word(form, form, '') for form in forms]
    assert conllu.carried(words, settings()) == [
      (len(clean.normalize(''.join(forms), settings())), forms[0])
    ]
