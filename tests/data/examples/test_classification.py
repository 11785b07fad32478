"""Labels keep their order, lists give an example a member, and odd labels are refused by line."""

import json

import pytest

from mlm_jax import config
from mlm_jax.data.examples import classification


def task(**settings):
  made = config.finetuning().task
  with made.unlocked():
    made.update(settings)
  return made


def written(tmp_path, *records):
  path = tmp_path / 'a.jsonl'
  path.write_text('\n'.join(map(json.dumps, records)))
  return str(path)


def labels(path, **settings):
  examples = classification.read(path, task(**settings))
  return classification.names(examples, settings.get('labels', ()))


def test_numbers_are_in_the_order_of_their_values_and_words_in_the_alphabets(tmp_path):
  records = [{'text': 'a', 'label': each} for each in (10, 9, 2, 'x', 'b')]
  assert labels(written(tmp_path, *records)) == ['2', '9', '10', 'b', 'x']
  assert labels(written(tmp_path, *records), labels=('x', '2')) == ['x', '2']


def test_lists_give_an_example_for_each_of_their_members(tmp_path):
  path = written(tmp_path, {'text': ['a', 'b'], 'label': ['X', 'Y']}, {'text': 'c', 'label': 'X'})
  found = classification.read(path, task())
  assert [(each.texts, each.labels) for each in found] == [
    (('a',), ('X',)),
    (('b',), ('Y',)),
    (('c',), ('X',)),
  ]


def test_several_labels_are_a_list_or_a_text_with_commas(tmp_path):
  path = written(
    tmp_path,
    {'text': 'a', 'label': ['X', 'Y']},
    {'text': 'b', 'label': 'Y, Z'},
    {'text': 'c', 'label': ''},
  )
  found = classification.read(path, task(multilabel=True))
  assert [each.labels for each in found] == [('X', 'Y'), ('Y', 'Z'), ()]


@pytest.mark.parametrize(
  'record, settings, says',
  (
    ({'text': ' ', 'label': 1}, {}, 'line 2: its text is'),
    ({'text': None, 'label': 1}, {}, 'line 2: its text is None'),
    ({'text': 'b', 'label': ''}, {}, 'line 2: label'),
    ({'text': 'b', 'label': [1]}, {}, 'line 2: label'),
    ({'text': 'b', 'label': 3}, {'multilabel': True}, 'must be a list'),
    ({'text': ['b'], 'label': ['X', 'Y']}, {}, 'equally long'),
    ({'text': 'b', 'label': 'X'}, {}, 'a single label'),
    ({'text': 'b', 'label': 'X'}, {'labels': ('X', 'X')}, 'must all differ'),
  ),
)
def test_what_is_no_label_is_refused(tmp_path, record, settings, says):
  first = {'text': 'a', 'label': ['X'] if settings.get('multilabel') else 'X'}
  with pytest.raises(config.UserError, match=says):
    labels(written(tmp_path, first, record), **settings)


def test_a_label_that_training_has_not_is_named_with_its_line(tmp_path):
  path = written(tmp_path, {'text': 'a', 'label': 'X'}, {'text': 'b', 'label': 'Q'})
  with pytest.raises(config.UserError, match="line 2: label 'Q' is none of .* X, Y"):
    classification.check(classification.read(path, task()), ['X', 'Y'])
