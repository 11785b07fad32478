"""Sentences are read from every format alike, and what is wrong is said with its line."""

import json

import pytest

from mlm_jax import config
from mlm_jax.data.examples import token_labelling


def task(**settings):
  made = config.finetuning().task
  with made.unlocked():
    made.token_labelling.update(settings)
  return made


def read(path, text, **settings):
  path.write_text(text, encoding='utf-8')
  found = token_labelling.read(str(path), task(**settings))
  return [(each.tokens, each.tags) for each in found]


SENTENCES = [(('Ann', 'Lee', 'ran'), ('B-PER', 'I-PER', 'O')), (('#', 'up'), ('O', 'O'))]


@pytest.mark.parametrize(
  'name, text',
  (
    ('a.conll', 'Ann\tB-PER\nLee\tI-PER\nran\tO\n\n#\tO\nup\tO\n'),
    ('a.txt', '-DOCSTART- -X- O O\n\nAnn NN B-PER\nLee NN I-PER\nran VB  O\n \n\n# X O \nup X O'),
    (
      'a.tsv',
      '\ufeffAnn\tx y\tB-PER\r\nLee\tx\tI-PER\r\nran\t\tO\r\n\r\n#\tx\tO\r\nup\tx\tO\r\n\r\n',
    ),
    (
      'a.jsonl',
      '{"tokens": ["Ann", "Lee", "ran"], "tags": ["B-PER", "I-PER", "O"]}\n'
      '{"tags": ["O", "O"], "tokens": ["#", "up"]}\n',
    ),
  ),
)
def test_formats_hold_the_same_sentences(tmp_path, name, text):
  assert read(tmp_path / name, text) == SENTENCES


def test_columns_are_chosen_by_number(tmp_path):
  text = '1 B-a a O\n2 I-a b O\n'
  found = read(tmp_path / 'a.conll', text, token_column=2, tag_column=1)
  assert found == [(('a', 'b'), ('B-a', 'I-a'))]


TREEBANK = (
  '# text = dum est\n1-2\tdum\t_\t_\t_\t_\t_\t_\t_\t_\n1\tde\tde\tADP\tE_x\t_\t0\troot\t_\t_\n'
  '2\tle\tle\tDET\tD\t_\t1\tdet\t_\t_\n2.1\tx\t_\t_\t_\t_\t_\t_\t_\t_\n'
  '3\test\tesse\tVERB\tV\t_\t1\tx\t_\t_\n\n# a comment alone\n\n'
)


def test_treebanks_give_the_words_as_written(tmp_path):
  path = tmp_path / 'a.conllu'
  assert read(path, TREEBANK, scheme='plain') == [(('dum', 'est'), ('ADP', 'VERB'))]
  found = read(path, TREEBANK, scheme='plain', conllu='xpos')
  assert found == [(('dum', 'est'), ('E_x', 'V'))]


def test_a_file_without_tags_is_streamed(tmp_path):
  (tmp_path / 'a.conll').write_text('Ann\nLee\n\nran\n')
  found = token_labelling.stream(str(tmp_path / 'a.conll'), task())
  assert [(each.tokens, each.tags) for each in found] == [(('Ann', 'Lee'), None), (('ran',), None)]


@pytest.mark.parametrize(
  'name, text, settings, says',
  (
    ('a.conll', 'a O\nb\n', {}, 'a.conll line 2: 1 columns in place of 2'),
    ('a.conll', 'a\tO\n\tO\n', {}, 'line 2: there is no token'),
    ('a.conll', 'a\nb\n', {}, r'line 1: it has 1 column, .*tag_column = -1'),
    ('a.conll', 'a O\n', {'token_column': 2}, r'token_column = 2'),
    ('a.conll', 'a O\nb S-x\n', {}, "line 2: the tag 'S-x' must be one of O, B-TYPE, I-TYPE"),
    ('a.conll', '\n-DOCSTART- O\n\n', {}, 'holds no sentence'),
    ('a.jsonl', '{"tokens": ["a"], "tags": ["O"]}\n{"tokens": ["a", "b"], "tags": ["O"]}\n', {},
     'line 2: 2 tokens and 1 tags'),
    ('a.jsonl', '{"tokens": ["a"], "tags": "O"}', {}, "'tags' must be a list of tags"),
    ('a.jsonl', '{"tokens": [], "tags": []}', {}, 'must be a list of texts'),
    ('a.jsonl', '{"words": []}', {}, "no column 'tokens'; there are 'words'"),
    ('a.conllu', TREEBANK, {}, "'dum': the tag 'ADP' must be one of O, .*scheme = 'iob2'"),
    ('a.conllu', TREEBANK.replace('ADP', '_'), {'scheme': 'plain'}, "the tag '' must be a text"),
    ('a.conllu', 'a\tO\n', {'scheme': 'plain'}, 'line 1 is not CoNLL-U'),
  ),
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(tmp_path, name, text, settings, says):
  with pytest.raises(config.UserError, match=says):
    read(tmp_path / name, text, **settings)


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path):
  with pytest.raises(config.UserError, match='cannot read'):
    token_labelling.read(str(tmp_path / 'none.conll'), task())
  (tmp_path / 'a.conll').write_bytes(b'\xff O\n')
  with pytest.raises(config.UserError, match='not UTF-8'):
    token_labelling.read(str(tmp_path / 'a.conll'), task())


def labels(tags, given=(), scheme='iob2'):
  example = token_labelling.Example('here', ('w',) * len(tags), tuple(tags))
  return token_labelling.labels([example], given, scheme)


def test_each_type_has_all_its_tags():
  assert labels(['I-b', 'O', 'B-a']) == ['O', 'B-a', 'I-a', 'B-b', 'I-b']
  assert labels(['y', 'x'], scheme='plain') == ['x', 'y']
  assert labels(['B-a'], given=('B-a', 'O')) == ['B-a', 'O']
  for tags, given, scheme in (
    (['O', 'O'], (), 'iob2'),
    (['x'], (), 'plain'),
    (['O'], ('O', 'O'), 'iob2'),
    (['O'], ('O', 'x'), 'iob2'),
  ):
    with pytest.raises(config.UserError):
      labels(tags, given, scheme)


def test_words_are_a_list_or_parted_by_white_space():
  assert token_labelling.unlabelled('x', ' a  b,').tokens == ('a', 'b,')
  assert token_labelling.unlabelled('x', ['a', 'b c']).tokens == ('a', 'b c')
  for wrong in ('', ' ', [], ['a', ' '], [1], 3, {'a': 1}):
    with pytest.raises(config.UserError, match='x: its words are'):
      token_labelling.unlabelled('x', wrong)


def test_json_lists_are_written_as_they_are_read(tmp_path):
  records = [{'w': list(tokens), 't': list(tags)} for tokens, tags in SENTENCES]
  text = '\n'.join(map(json.dumps, records))
  assert read(tmp_path / 'a.jsonl', text, tokens='w', tags='t') == SENTENCES
