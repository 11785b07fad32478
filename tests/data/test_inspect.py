import os
import subprocess
import sys

import numpy as np
import pytest

from mlm_jax.data import inspect
from tests.data import test_rows
from tests.data.invented import command
from tests.data.invented import sentences
from tests.data.test_prepare import prepare


@pytest.fixture(scope='module')
def odd(tmp_path_factory):
  """Returns a corpus with rare characters, duplicates and short lines, prepared."""
  folder = tmp_path_factory.mktemp('odd')
  lines = sentences(500)
  lines = lines + lines[:7] + ['x', 'ＱＺ 日本\u200c語 ' + lines[0], lines[1] + ' 日']
  (folder / 'odd.txt').write_text('\n'.join(lines), encoding='utf-8')
  (folder / 'more.txt').write_text('\n'.join(sentences(200, seed=5)))
  source = f'text:{folder}/odd.txt,text:{folder}/more.txt'
  # Held out is what the hash says, so the rare characters may land on either side.
  return prepare(folder / 'w' / 'data', source=source, min_characters=3, validation_fraction=1e-2)


def test_sizes_and_drops_are_those_of_the_manifest(odd):
  shown = [line.split() for line in inspect.lines(odd)]
  for source in odd.manifest['sources']:
    for split in ('train', 'validation'):
      entry = source[split]
      (line,) = (line for line in shown if line[:2] == [source['name'], split])
      assert line[2:7] == [
        f'{entry[key]:,}' for key in ('documents', 'characters', 'pieces', 'rows', 'tokens')
      ]
      assert line[7] == f'{entry["fill"]:.1%}'
    drops = {rule: entry for rule, entry in source['rules'].items() if entry['documents']}
    for rule, entry in drops.items():
      assert any(
        line[:4] == [source['name'], rule, f'{entry["documents"]:,}', f'{entry["characters"]:,}']
        for line in shown
      )
  assert ['odd', 'duplicates', '7'] in [line[:3] for line in shown]
  assert ['odd', 'min_characters', '1', '1', 'drop'] in shown


def test_tokens_per_word_are_pieces_over_words(odd):
  first = odd.manifest['sources'][0]['train']
  (shown,) = (line.split() for line in inspect.lines(odd) if line.split()[:2] == ['odd', 'train'])
  assert shown[8] == f'{first["pieces"] / odd.statistics.words_S[0]:.2f}'


def test_bars_are_as_long_as_their_counts():
  shown = list(inspect._bars(list('abcdef'), np.array([0, 1, 80, 0, 40, 0])))
  assert [line.split()[:2] for line in shown] == [['b', '1'], ['c', '80'], ['d', '0'], ['e', '40']]
  assert [line.count('#') for line in shown] == [1, 40, 0, 20]
  assert not list(inspect._bars(['a'], np.array([0])))


def test_the_most_common_pieces_and_ngrams_are_shown_first(odd):
  text = '\n'.join(inspect.lines(odd))
  ordinary_V = odd.counts_V.copy()
  ordinary_V[list(odd.tokenizer.special_ids)] = 0
  best = int(ordinary_V.argmax())
  assert f'\n  {odd.tokenizer.piece(best)} {ordinary_V[best]:,}' in text
  pair = ' '.join(odd.tokenizer.piece(i) for i in odd.statistics.bigrams_N2[0])
  assert f'\n  {pair} {odd.statistics.bigram_counts_N[0]:,}' in text


def test_bytes_are_shown_as_the_characters_they_spell(odd):
  tokenizer = odd.tokenizer
  wanted = {}
  for rows in odd.train:
    for row in rows.tokens_RL:
      for c in tokenizer.decode([i for i in row if i in tokenizer.byte_ids]):
        wanted[c] = wanted.get(c, 0) + 1
  assert 'Q' in ''.join(wanted) or '日' in wanted
  spelled, scanned = inspect._spelled(odd)
  assert dict(spelled) == wanted and scanned == sum(map(len, odd.train))
  (line,) = (line for line in inspect.lines(odd) if 'what the bytes spell' in line)
  assert all(f'{inspect._named(c)} {n}' in line for c, n in wanted.items())


def test_rows_are_shown_segment_by_segment(odd):
  shown = list(inspect.lines(odd))
  at = shown.index(next(line for line in shown if line.startswith('odd, row 0:')))
  row, starts = odd.train[0].tokens_RL[0], odd.train[0].starts_RS[0]
  segments = [line[4:] for line in shown[at + 1 : at + 1 + (starts >= 0).sum()]]
  joined = odd.tokenizer.decode(row).replace('[CLS]', '').split('[SEP]')[:-1]
  assert segments == [each.strip() for each in joined]


def test_collocations_and_classes_are_shown_where_there_are_some(odd, tmp_path):
  assert not any(
    'collocations' in line or 'classes of words' in line for line in inspect.lines(odd)
  )
  test_rows.write_treebank(tmp_path / 'a.conllu', 400, 0)
  marked = test_rows.prepare(tmp_path, source=f'conllu:{tmp_path}/a.conllu')
  shown = list(inspect.lines(marked))
  counts = marked.manifest['sources'][0]['train']
  assert marked.joins is not None
  number = len(marked.joins.entries.words_N)
  at = shown.index(f'{number} collocations, and how much of the text is in one')
  found = counts['collocations']
  assert shown[at + 2].split() == [
    'a',
    'train',
    f'{found["collocations"]:,}',
    f'{found["words"] / found["of_words"]:.1%}',
    f'{found["tokens"] / counts["pieces"]:.1%}',
  ]
  ids = marked.joins.entries.pieces()[0]
  assert (
    shown[at + 6]
    .strip()
    .startswith(f'{marked.tokenizer.decode(ids)} {marked.joins.entries.counts_N[0]:,}')
  )
  at = shown.index('classes of words, and their share of the training pieces (0.0% have none)')
  assert [line.split()[0] for line in shown[at + 1 : at + 18]] == list(marked.classes)
  noun = counts['classes']['NOUN']
  assert ['NOUN', f'{noun:,}', f'{noun / counts["pieces"]:.2%}'] in [line.split() for line in shown]


def test_what_a_terminal_hides_is_written_as_its_code():
  assert inspect._named('a\u200cb\n日') == 'a<200C>b<000A>日'


def test_the_command_shows_what_is_there_without_a_config(odd, tmp_path, capsys):
  wanted = list(inspect.lines(odd))
  for workdir in (odd.directory.parent, odd.directory):
    status, out, err = command(capsys, 'prepare', '--inspect', f'--workdir={workdir}')
    assert (status, err) == (0, '')
    assert out.splitlines() == wanted
  source = '--config.data.source=text:absent*'
  status, _, err = command(capsys, 'prepare', '--inspect', f'--workdir={tmp_path}', source)
  assert status == 2 and err.count('\n') == 1
  status, _, err = command(capsys, 'prepare', '--inspect', f'--workdir={tmp_path}')
  assert status == 2 and f'nothing is prepared in {tmp_path}' in err
  assert list(tmp_path.iterdir()) == []


def test_output_that_nobody_reads_is_not_an_error(odd):
  reading, writing = os.pipe()
  os.close(reading)
  done = subprocess.run(
    [sys.executable, '-m', 'mlm_jax', 'prepare', '--inspect', f'--workdir={odd.directory}'],
    stdout=writing,
    stderr=subprocess.PIPE,
    text=True,
    timeout=60,
  )
  os.close(writing)
  assert (done.returncode, done.stderr) == (141, '')
