"""Questions are read as SQuAD has them, windows have every answer, and odd files are refused."""

import json
import types

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import question_answering
from mlm_jax.data.examples import windows
from tests.data import invented


def task():
  made = config.finetuning().task
  with made.unlocked():
    made.update(name='question_answering', text='question', second_text='context')
  return made


def qa(**settings):
  answers = [{'text': 'two', 'answer_start': 4}]
  return {'id': 'a', 'question': 'how many?', 'answers': answers, **settings}


def squad(*qas, context='one two three'):
  return {'version': '1.1', 'data': [{'paragraphs': [{'context': context, 'qas': list(qas)}]}]}


def written(tmp_path, content):
  path = tmp_path / 'a.json'
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return str(path)


def read(tmp_path, content):
  return question_answering.read(written(tmp_path, content), task())


def test_answers_are_kept_where_they_are_and_others_counted(tmp_path):
  answer = lambda text, begin: {'text': text, 'answer_start': begin}
  found = read(
    tmp_path,
    squad(
      qa(answers=[answer('two', 4), answer('two', 5), answer('two three', 4)]),
      qa(id='b', answers=[], is_impossible=True, plausible_answers=[answer('one', 0)]),
      qa(id=3, answers=[answer('two', -9), answer(' ', 3), answer('', 0)]),
    ),
  )
  assert [each.answers for each in found] == [(('two', 4), ('two three', 4)), (), ()]
  assert [each.misplaced for each in found] == [1, 0, 3]
  assert [each.is_scored for each in found] == [True, True, False]
  assert [each.id for each in found] == ['a', 'b', '3']


@pytest.mark.parametrize(
  'content, says',
  (
    ('{', 'a.json is no JSON'),
    ([], 'a.json: must be an object with a list "data"'),
    ({}, 'a.json: "data" is missing'),
    ({'data': 5}, 'a.json: "data" is 5; it must be a list'),
    ({'data': [5]}, r'a.json: data\[0\] is 5: must be an object'),
    ({'data': [{}]}, r'a.json: data\[0\]: "paragraphs" is missing'),
    ({'data': [{'paragraphs': [{}]}]}, r'data\[0\].paragraphs\[0\]: "context" is missing'),
    (squad(context=' '), r'paragraphs\[0\]: "context" is \' \'; it must be a text'),
    ({'data': []}, 'holds no question'),
    (squad(qa(question=5)), r'qas\[0\]: "question" is 5'),
    (squad(qa(id=None)), r'qas\[0\]: "id" must be a text, and is None'),
    (squad(qa(), qa()), r'qas\[1\]: id \'a\' is that of data\[0\].paragraphs\[0\].qas\[0\] too'),
    (squad({'id': 'a', 'question': 'x'}), r'qas\[0\]: "answers" is missing'),
    (squad(qa(answers=[])), r'qas\[0\] has no answer and is not "is_impossible"'),
    (squad(qa(is_impossible=True)), r'qas\[0\] is impossible and has answers'),
    (squad(qa(is_impossible=1)), r'qas\[0\]: "is_impossible" must be true or false'),
    (squad(qa(answers=[{'text': 'two'}])), r'answers\[0\]: must have a text "text"'),
  ),
)
def test_another_structure_is_refused_with_its_place(tmp_path, content, says):
  with pytest.raises(config.UserError, match=says) as error:
    read(tmp_path, content)
  assert '\n' not in str(error.value)


def test_tables_and_squad_files_are_streamed_without_answers(tmp_path):
  (tmp_path / 'a.csv').write_text('context,question\nc,q\n')
  (found,) = question_answering.stream(str(tmp_path / 'a.csv'), task())
  assert (found.question, found.context, found.answers) == ('q', 'c', None)
  path = written(tmp_path, squad({'id': 'x', 'question': 'q'}))
  (found,) = question_answering.stream(path, task())
  assert (found.id, found.answers, found.is_scored) == ('x', None, False)
  with pytest.raises(config.UserError, match='must be in a .json file'):
    question_answering.read(str(tmp_path / 'a.csv'), task())
  for wrong in ('q', ('q',), ('q', ' '), ('q', 5)):
    with pytest.raises(config.UserError, match=r'texts\[0\]'):
      question_answering.unlabelled('texts[0]', wrong, task())


@pytest.fixture(scope='module', params=['unigram', 'byte_bpe', 'wordpiece'])
def tokenizer(request):
  made = invented.settings(tokenizer=request.param, tokenizer_threads=1)
  texts = invented.sentences(300) + ['a b nop é x ( . , ? c d e f g h'] * 20
  return tokenizers.make(tokenizers.train(texts, made))


def data(length):
  return types.SimpleNamespace(
    row_length=length,
    unicode='NFC',
    control_characters='remove',
    boundary_mark='replace',
    white_space='collapse',
  )


def settings(stride, question=4):
  return types.SimpleNamespace(stride=stride, max_question_pieces=question)


def example(context, *answers, question='ab?'):
  return question_answering.Example('', '', question, context, answers)


def messy(random, words):
  """Returns (a context that cleaning changes, [(word, its place)])."""
  context, places = '', []
  for _ in range(words):
    context += str(random.choice([' ', '  ', '\n', ' \x00', ' (']))
    word = ''.join(random.choice(['a', 'b', 'nop', 'e\u0301', 'é', 'x'], random.integers(1, 4)))
    places.append((word, len(context)))
    context += word
  return context + str(random.choice(['', '.', ' \n'])), places


@pytest.mark.parametrize('seps', (1, 2))
def test_every_word_is_found_again_as_it_was_given(tokenizer, seps):
  random = np.random.default_rng(0)
  whole = 0
  for _ in range(60):
    context, places = messy(random, random.integers(1, 12))
    word, begin = places[random.integers(len(places))]
    one = example(context, (word, begin))
    found = windows.encode([one], tokenizer, data(24), settings(10), seps)
    of = windows.context(context, tokenizer, data(24))
    for k, tokens in enumerate(found.tokens):
      first, last = (int(found.columns[name][k]) for name in (windows.FIRST, windows.LAST))
      assert len(tokens) <= 24 and tokens[0] == tokenizer.cls_id and tokens[-1] == tokenizer.sep_id
      if first:
        text = context[found.columns[windows.BEGIN][k][first] : found.columns[windows.END][k][last]]
        # A piece may hold more than the answer, never less.
        assert word in text and '\n' not in text.strip()
        whole += text == word
      # What is said of the tokens is said of those of the context alone.
      is_context = found.columns[windows.BEGIN][k] >= 0
      assert is_context.sum() <= len(tokens) - 2 - seps - 1
    assert any(found.columns[windows.FIRST]), 'shorter than what windows share: whole in one'
    assert len(of.ids) == len(of.begin_T)
  assert whole > 40


def test_windows_cover_a_context_and_share_what_is_asked_for(tokenizer):
  context = ' '.join('abcdefgh' * 8)
  (ids,) = tokenizer.encode_batch([context])
  for length, shared in ((24, 0), (24, 5), (24, 13), (600, 13)):
    found = windows.encode([example(context, ('a', 0))], tokenizer, data(length), settings(shared))
    parts = [np.array(each)[b >= 0] for each, b in zip(found.tokens, found.columns[windows.BEGIN])]
    joined = parts[0].tolist()
    for part in parts[1:]:
      assert shared == 0 or joined[-shared:] == part[:shared].tolist()
      joined += part[shared:].tolist()
    assert joined == ids.tolist()
    assert all(len(each) == length for each in found.tokens[:-1])
    assert np.asarray(found.number).tolist() == [0] * len(parts)


def test_what_is_not_in_a_window_is_at_its_first_token(tokenizer):
  context = ' '.join('abcdefgh' * 8)
  of = lambda *answers, misplaced=0: question_answering.Example(
    '', '', 'q?', context, answers, misplaced
  )
  unknown = question_answering.Example('', '', 'q?', context, None)
  examples = [of(('a', 0)), of(), of(misplaced=1), unknown]
  found = windows.encode(examples, tokenizer, data(24), settings(4))
  first = lambda n: found.columns[windows.FIRST][found.number == n].tolist()
  assert first(0)[0] > 0 and not any(first(0)[1:])
  assert not any(first(1)) and set(first(2)) == set(first(3)) == {-1}
  counts = [n for n in found.counts.values()]
  assert counts == [0, 1, 1]
  long = windows.encode([example('a', question='a b c d e f')], tokenizer, data(24), settings(4))
  assert next(iter(long.counts.values())) == 1


def test_rows_that_windows_do_not_fit_in_are_refused(tokenizer):
  windows.check(data(24), settings(16, 4), 1)
  with pytest.raises(config.UserError, match='data.row_length = 23: must be above 23'):
    windows.check(data(23), settings(16, 4), 1)
