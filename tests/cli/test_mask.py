"""mlm-jax mask prints what a policy does to a text, and refuses what cannot be masked."""

import re

import jax
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax.core import rng
from mlm_jax.inference import mask_lines
from mlm_jax.inference import mask_preview
from tests.cli.test_main import call

TEXT = 'one two three four five, six seven eight nine ten; it is so (as they say) in an old song.'
PIECES = re.findall(r'\w+|[^\w\s]', TEXT)
ONLY = {'mask': '(1.0,0.0,0.0)', 'random': '(0.0,1.0,0.0)', 'keep': '(0.0,0.0,1.0)'}
MARKED = {'mask': r'⟦([^⟦⟧]+)⟧', 'random': r'⟪([^⟪⟫]+)→[^⟪⟫]+⟫', 'keep': r'⟨([^⟨⟩]+)⟩'}


def shown(capsys, *argv):
  """Returns the lines that are printed, status 0: of each visit and its counts, then notes."""
  status, out, err = call(capsys, 'mask', *argv)
  assert status == 0 and not err, err
  legend, *lines = out.splitlines()
  assert legend == mask_lines.legend().plain
  return lines


def visits(capsys, *argv):
  """Returns the lines of the visits alone."""
  return [line for line in shown(capsys, *argv) if not line.startswith('  ')]


def refused(capsys, *argv):
  """Returns the one line of an error; status 2, nothing printed."""
  status, out, err = call(capsys, 'mask', *argv)
  assert status == 2 and not out and err.count('\n') == 1 and 'Traceback' not in err, (
    status,
    out,
    err,
  )
  return err


def chosen(line, kind='mask'):
  return re.findall(MARKED[kind], line)


@pytest.mark.parametrize('kind', ONLY)
def test_words_keep_their_order_and_brackets_show_what_is_done(capsys, kind):
  lines = visits(
    capsys,
    f'--text={TEXT}',
    f'--config.masking.corruption_probs={ONLY[kind]}',
    '--config.masking.rate=0.5',
  )
  assert len(lines) == 3
  for line in lines:
    assert re.sub(MARKED[kind], r'\1', line) == TEXT
    assert abs(len(chosen(line, kind)) - len(PIECES) / 2) < 1
    assert not any(chosen(line, other) for other in ONLY if other != kind)


def test_a_text_of_which_nothing_is_chosen_is_printed_as_it_is(capsys):
  text = "See [MASK] (now), don't 'go' there: 3.5 {x} <y> [ z ]!"
  assert visits(capsys, f'--text={text}', '--config.masking.rate=1e-6', '--visits=1') == [text]


def test_the_counts_are_those_of_the_line(capsys):
  lines = shown(
    capsys,
    f'--text={TEXT}',
    '--visits=20',
    '--config.masking.rate=0.4',
    '--config.masking.corruption_probs=(0.4,0.3,0.3)',
  )
  assert len(lines) == 40
  for line, counts in zip(lines[::2], lines[1::2]):
    masked, random, kept = (len(chosen(line, kind)) for kind in MARKED)
    total = masked + random + kept
    assert counts == (
      f'  {total} of {len(PIECES)} pieces in {total} units: {masked} masked, '
      f'{random} random, {kept} kept'
    )


def test_units_and_predicted_are_counted(capsys):
  text = 'internationalisation of misunderstandings is uncharacteristically difficult'
  lines = shown(
    capsys,
    f'--text={text}',
    '--policy=bert_whole_word',
    '--config.masking.rate=0.6',
    '--config.masking.corruption_probs=(1.0,0.0,0.0)',
    '--config.masking.predict_fraction=0.5',
    '--visits=20',
  )
  seen = set()
  pattern = (
    r'  (\d+) of 20 pieces in (\d+) units: \1 masked, 0 random, 0 kept(?:; (\d+) predicted)?'
  )
  for line, counts in zip(lines[::2], lines[1::2]):
    found = re.fullmatch(pattern, counts)
    assert found
    pieces, units, predicted = found.groups()
    words = [''.join(re.findall(r'⟦(\w+)⟧', word)) for word in line.split()]
    assert all(
      word in ('', whole) for word, whole in zip(words, text.split())
    )  # whole or not at all
    assert int(units) == sum(map(bool, words)) and int(pieces) == line.count('⟦')
    seen.add(predicted)
  assert None in seen and len(seen) > 2


def by_hand(text, seed, visit, progress, **settings):
  """Returns the words of a text that a policy hides, drawn without the command."""
  tokenizer = mask_preview.PlainTokenizer(text)
  batch = mask_preview.batch_of(
    [[tokenizer.cls_id, *tokenizer.encode(), tokenizer.sep_id]], tokenizer.pad_id
  )
  batch.visit_B[:] = visit
  masked = jax.jit(masking.mask_batch)(
    masking.make(tokenizer.table(), **settings), rng.root_key(seed), batch, progress
  )
  assert batch.tokens_BL[0, 1] == tokenizer.encode()[0]
  return [PIECES[i - 1] for i in np.flatnonzero(masked.chosen_BL[0])]


def test_each_line_is_a_visit_under_the_seed(capsys):
  flags = (
    f'--text={TEXT}',
    '--config.masking.corruption_probs=(1.0,0.0,0.0)',
    '--config.masking.rate=0.3',
  )
  for seed in (0, 2**32 - 1):
    lines = visits(capsys, *flags, f'--seed={seed}', '--visits=4')
    settings = dict(corruption_probs=(1.0, 0.0, 0.0), rate=0.3)
    assert [chosen(line) for line in lines] == [
      by_hand(TEXT, seed, v, 0.0, **settings) for v in range(4)
    ]
    assert len(set(lines)) == 4
  static = visits(capsys, *flags, '--visits=4', '--config.masking.static_copies=2')
  assert static[:2] == static[2:] != static[1:3]


@pytest.mark.parametrize(
  'progress, share',
  (
    (None, 0),
    pytest.param(0, 0, marks=pytest.mark.slow),
    (0.5, 0.25),
    pytest.param(1, 0.5, marks=pytest.mark.slow),
  ),
)
def test_the_rate_is_that_of_the_progress(capsys, progress, share):
  words = ' '.join(f'w{i}' for i in range(32))
  flags = [] if progress is None else [f'--progress={progress}']
  for line in visits(
    capsys,
    f'--text={words}',
    '--policy=time_variant_ascending',
    *flags,
    '--config.masking.final_rate=0.5',
    '--config.masking.corruption_probs=(1.0,0.0,0.0)',
  ):
    assert len(chosen(line)) == 32 * share


@pytest.mark.parametrize(
  'settings, progress, note',
  (
    (('rate=0', 'final_rate=0.5', 'schedule=linear'), 0, '--progress=0; --progress=0.5'),
    pytest.param(
      ('rate=0.5', 'schedule=cosine'), 1, '--progress=1; --progress=0.5', marks=pytest.mark.slow
    ),
    (('rate=0.5', 'schedule=step'), 0.75, '--progress=0.75; --progress=0'),
    pytest.param(
      ('rate=0', 'final_rate=0.5', 'schedule=step'),
      0.25,
      '--progress=0.25; --progress=0.5',
      marks=pytest.mark.slow,
    ),
    (('rate=0', 'final_rate=0.5', 'schedule=row'), 0, None),
    pytest.param(('rate=0.001',), 0, None, marks=pytest.mark.slow),
  ),
)
def test_a_rate_of_0_is_reported_and_where_it_is_more(capsys, settings, progress, note):
  flags = [f'--config.masking.{each}' for each in sorted(settings, reverse=True)]
  lines = shown(capsys, f'--text={TEXT}', f'--progress={progress}', '--visits=2', *flags)
  assert lines[4:] == ([f'  the rate is 0 at {note} shows more'] if note else [])
  if note:
    assert lines[1].startswith('  0 of ')
    more = note.split()[1]
    assert not shown(capsys, f'--text={TEXT}', more, '--visits=1', *flags)[1].startswith('  0 of ')


SPACELESS = '  in text without spaces between words each piece is taken for a word'


@pytest.mark.parametrize(
  'settings, is_said',
  (
    pytest.param(('unit=word',), True, marks=pytest.mark.slow),
    (('unit=span',), True),
    (('unit=span', 'span_of=token'), False),
    pytest.param((), False, marks=pytest.mark.slow),
    pytest.param(('unit=sentence',), False, marks=pytest.mark.slow),
  ),
)
def test_a_note_on_text_without_spaces_says_that_pieces_are_words(capsys, settings, is_said):
  flags = [f'--config.masking.{each}' for each in settings]
  assert shown(capsys, '--text=日本語の文です。', '--visits=2', *flags)[4:] == [SPACELESS] * is_said


@pytest.mark.parametrize(
  'text, is_said',
  (
    pytest.param('we met in 東京 then', True, marks=pytest.mark.slow),
    ('ภาษาไทย', True),
    ('Ελλάδα, Россия', False),
  ),
)
def test_the_note_appears_for_any_text_with_letters_of_such_a_script(capsys, text, is_said):
  assert shown(capsys, f'--text={text}', '--config.masking.unit=word')[6:] == [SPACELESS] * is_said


def test_each_piece_of_a_script_without_spaces_is_a_word(capsys):
  line, counts = shown(
    capsys,
    '--text=日本語の文です。iPhoneで',
    '--config.masking.unit=word',
    '--visits=1',
    '--config.masking.rate=1',
    '--config.masking.corruption_probs=(1.0,0.0,0.0)',
  )[:2]
  assert line == '⟦日本語の⟧⟦文です⟧⟦。⟧⟦iPhone⟧⟦で⟧' and ' 5 of 5 pieces in 5 units' in counts


def test_a_space_is_outside_the_brackets_and_a_space_alone_is_seen():
  def piece(text, action='', shown='▁other'):
    return mask_preview.MaskedPiece(text, shown, action, bool(action), 0)

  line = lambda *pieces: mask_lines.line(pieces).plain
  assert (
    line(piece('▁a'), piece('▁b', 'mask'), piece('c'), piece('['), piece('▁d', 'keep'))
    == 'a ⟦b⟧c[ ⟨d⟩'
  )
  assert line(piece('▁a'), piece('▁'), piece('b')) == 'a b'
  assert line(piece('▁'), piece('b', 'random')) == '⟪b→other⟫'
  assert line(piece('a'), piece('▁', 'mask'), piece('b')) == 'a⟦▁⟧b'
  assert line(piece('a'), piece('▁▁b', 'random', '▁')) == 'a  ⟪b→▁⟫'


@pytest.mark.parametrize(
  'flags, says',
  (
    (('--policy=spanbrt',), 'did you mean spanbert?'),
    (('--policy=pmi',), 'collocations are found when data is prepared: mlm-jax prepare'),
    (('--policy=pos_weighted',), 'the vocabulary has no classes of words'),
    (('--config.masking.unit=wrod',), 'did you mean word?'),
    (('--config.seed=1',), 'only --config.masking.KEY=VALUE decides here'),
    (('--progress=1.5',), '--progress between 0 and 1'),
    (('--progress=nan',), '--progress between 0 and 1'),
    (('--visits=0',), '--visits must be at least 1'),
    (('--visits=10001',), '--visits must be at least 1 and at most 10,000'),
    (('--seed=-1',), '--seed below 2**32'),
    ((f'--seed={2**32}',), '--seed below 2**32'),
    (('--row=0',), 'give either --text or --row'),
    (('--workdir={tmp}',), 'holds no prepared data'),
    (
      ('--config.masking.selection=tests.masking.own:Eight',),
      'of a row of 32 tokens: ValueError: rows of 8',
    ),
    (
      ('--config.masking.selection=tests.masking.own:EightNumbers',),
      'gave float32[8] instead of one number',
    ),
  ),
)
def test_wrong_flags_are_refused_in_one_line(capsys, tmp_path, flags, says):
  assert says in refused(capsys, f'--text={TEXT}', *(each.format(tmp=tmp_path) for each in flags))


def test_there_must_be_something_to_mask(capsys):
  assert 'give either --text or --row' in refused(capsys)
  assert '--workdir' in refused(capsys, '--row=0')
  assert 'the text has nothing to mask' in refused(capsys, '--text= ')
