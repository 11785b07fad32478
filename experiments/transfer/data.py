"""Cuts public tasks to a size that a CPU can train on: files of transfer's sweep.

  python experiments/transfer/data.py --source=DOWNLOADED --out=runs/tasks

DOWNLOADED holds folders sst2, ag_news, banking77, wnut17, crossner/ai, squadshifts, stsb, rte and
cranfield, each as its authors publish it (see NOTES.md). Of each at most 1,000 training examples
are drawn, the same ones each time. Test examples are the published development part, or where
there is none, questions of other articles (squadshifts) or other rows (banking77). Texts of a
test file are taken out of its training file.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import csv
import json
import pathlib
import shutil

import numpy as np

TRAINING, TEST = 1000, 500  # examples at most
Row = dict[str, str]


def drawn(rows: Sequence, most: int, seed: int = 0) -> list:
  """Returns at most so many, in their order."""
  if len(rows) <= most:
    return list(rows)
  chosen = np.random.default_rng(seed).permutation(len(rows))[:most]
  return [rows[n] for n in sorted(chosen.tolist())]


def table(
  path: pathlib.Path, names: Sequence[str], header: bool, **dialect: str | int
) -> list[Row]:
  """Returns the rows of a csv or tsv file, its columns under other names; '' skips one."""
  with path.open(newline='', encoding='utf-8') as file:
    rows = list(csv.reader(file, **dialect))  # pyrefly: ignore[bad-argument-type]
  kept = [{name: value for name, value in zip(names, row) if name} for row in rows[header:]]
  return [{name: value.strip() for name, value in row.items()} for row in kept]


PARTS = 'train', 'dev'
TSV = {'delimiter': '\t', 'quoting': csv.QUOTE_NONE}


def tables(source: pathlib.Path) -> Iterator[tuple[str, list[Row], list[Row]]]:
  """Yields (name, training rows, test rows) of the tasks that are tables."""
  names = ('text', 'label')
  train, test = (table(source / 'sst2' / f'{each}.tsv', names, True, **TSV) for each in PARTS)
  yield 'sst2', train, test
  train, test = (table(source / 'ag_news' / f'subset_{each}.csv', names, False) for each in PARTS)
  yield 'ag_news', train, test
  rows = table(source / 'banking77' / 'train.csv', names, True)
  yield 'banking77', rows, drawn(rows, TEST, seed=1)
  names = ('text', 'second_text', 'score')
  train, test = (table(source / 'stsb' / f'stsb-en-{each}.csv', names, False) for each in PARTS)
  yield 'stsb', train, test
  names = ('', 'text', 'second_text', 'label')
  train = table(source / 'rte' / 'train.tsv', names, True, **TSV)
  yield 'rte', train, table(source / 'rte' / 'val.tsv', names, False, **TSV)


def parted(train: Sequence, test: Sequence, text: Callable) -> tuple[list, list]:
  """Returns (training, test) examples, drawn; no text is in both, nor twice in training.

  Published parts share texts: 98 of 500 test examples of ag_news were training examples too.
  """
  test = drawn(test, TEST)
  seen, kept = {text(each) for each in test}, []
  for each in train:
    if text(each) not in seen:
      seen.add(text(each))
      kept.append(each)
  return drawn(kept, TRAINING), test


def texts(row: Row) -> tuple[str, ...]:
  """Returns what a model reads of a row."""
  return row['text'], row.get('second_text', '')


def words(sentence: str) -> tuple[str, ...]:
  """Returns the words of the lines of CoNLL columns."""
  return tuple(line.split()[0] for line in sentence.split('\n') if line)


def sentences(path: pathlib.Path) -> list[str]:
  """Returns the sentences of a file of CoNLL columns, each as its lines."""
  lines = (line.rstrip() for line in path.read_text(encoding='utf-8').split('\n'))
  return [each for each in '\n'.join(lines).replace('\n\n\n', '\n\n').split('\n\n') if each]


def questions(articles: Sequence[dict], most: int) -> list[dict]:
  """Returns articles of SQuAD with at most so many questions."""
  numbers = [
    (a, p, q)
    for a, article in enumerate(articles)
    for p, paragraph in enumerate(article['paragraphs'])
    for q in range(len(paragraph['qas']))
  ]
  kept = set(drawn(numbers, most))
  found = []
  for a, article in enumerate(articles):
    paragraphs = []
    for p, paragraph in enumerate(article['paragraphs']):
      asked = [each for q, each in enumerate(paragraph['qas']) if (a, p, q) in kept]
      paragraphs += [{'context': paragraph['context'], 'qas': asked}] if asked else []
    found += [{'title': article.get('title', ''), 'paragraphs': paragraphs}] if paragraphs else []
  return found


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--source', type=pathlib.Path, required=True)
  parser.add_argument('--out', type=pathlib.Path, required=True)
  args = parser.parse_args(arguments)
  args.out.mkdir(parents=True, exist_ok=True)
  for name, train, test in tables(args.source):
    for part, rows in zip(('train', 'test'), parted(train, test, texts)):
      lines = (json.dumps(row, ensure_ascii=False) + '\n' for row in rows)
      (args.out / f'{name}_{part}.jsonl').write_text(''.join(lines), encoding='utf-8')
  for name, folder, kind in (('wnut17', 'wnut17', 'conll'), ('crossner_ai', 'crossner/ai', 'txt')):
    train, test = (sentences(args.source / folder / f'{each}.{kind}') for each in PARTS)
    for part, kept in zip(('train', 'test'), parted(train, test, words)):
      path = args.out / f'{name}_{part}.conll'
      path.write_text('\n\n'.join(kept) + '\n', encoding='utf-8')
  (path,) = (args.source / 'squadshifts').glob('*.json')
  articles = json.loads(path.read_text(encoding='utf-8'))['data']
  # By article: no context is in both.
  third = set(drawn(range(len(articles)), len(articles) // 3))
  for part, is_test, most in (('train', False, TRAINING), ('test', True, TEST)):
    kept = [each for n, each in enumerate(articles) if (n in third) == is_test]
    document = {'version': '1.1', 'data': questions(kept, most)}
    (args.out / f'squadshifts_{part}.json').write_text(json.dumps(document), encoding='utf-8')
  shutil.copytree(args.source / 'cranfield', args.out / 'cranfield', dirs_exist_ok=True)


if __name__ == '__main__':
  main()
