import random
import re

import pytest

from mlm_jax.data.corpus import split
from tests.data.invented import settings

TEXT = 'One a.\nOne b.\n\nTwo.\n  \nChapter 3\nThree.\n\n\nChapter 4\nFour.\n'


def cut_anywhere(text, seed):
  draw = random.Random(seed)
  while text:
    n = draw.randint(1, 7)
    yield text[:n]
    text = text[n:]


@pytest.mark.parametrize(
  'changes',
  [
    dict(document='file'),
    dict(document='lines'),
    dict(document='blocks', block_characters=1),
    dict(document='blocks', block_characters=13),
    dict(document='regex', document_regex=r'^Chapter \d+$'),
    dict(document='regex', document_regex=r'(?=^Chapter)'),
    dict(document='regex', document_regex=r'\n*'),
    dict(document='regex', document_regex=r'^\w'),
  ],
)
def test_documents_do_not_depend_on_where_the_text_is_cut(changes, monkeypatch):
  whole = list(split.documents([TEXT * 3], settings(**changes)))
  monkeypatch.setattr(split, 'REACH', 12)
  for seed in range(20):
    assert list(split.documents(cut_anywhere(TEXT * 3, seed), settings(**changes))) == whole


@pytest.mark.parametrize('pattern', [r'^Chapter \d+$', r'\n\s*\n', r'(?=^Chapter)', 'absent'])
def test_regex_documents_are_what_is_between_the_matches(pattern):
  got = split.documents([TEXT], settings(document='regex', document_regex=pattern))
  wanted = re.split(pattern, TEXT, flags=re.MULTILINE)
  assert [d for d in got if d] == [d for d in wanted if d]


def test_blocks_are_paragraphs_joined_until_long_enough():
  paragraphs = ['a' * 30, 'b' * 5, 'c' * 5, 'd' * 5, 'e' * 40]
  blocks = list(
    split.documents(['\n\n'.join(paragraphs)], settings(document='blocks', block_characters=12))
  )
  assert blocks == [paragraphs[0], '\n\n'.join(paragraphs[1:4]), paragraphs[4]]
