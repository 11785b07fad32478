"""mlm-jax mask on rows and texts of prepared data, and on a run with its own policy."""

import re
import shutil

import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.data import prepare as prepare_lib
from mlm_jax.data import store
from mlm_jax.inference import mask_preview
from mlm_jax.tasks import pretraining
from tests import shared_runs
from tests import toys
from tests.cli.test_main import call
from tests.cli.test_mask import chosen
from tests.cli.test_mask import refused
from tests.cli.test_mask import shown
from tests.cli.test_mask import visits
from tests.data.annotations.test_word_classes import treebank

WORDS = (
  'able bird cold dune easy fish gold hill idle jump kind lamp moon north open pearl quiet river '
  'storm table under valley winter xylem yellow zebra acid bell cave desk east farm gate hand iron '
  'jade knot lake mint nest oval pine rain sand tree unit vast wood'
).split()
ROW = 32
# A piece for each word; beside them there are 256 bytes, the special pieces, 'red' and 'fox'.
SMALL = dict(data__row_length=ROW, data__tokenizer='word', data__vocab_size=261 + len(WORDS) + 2)


def initials(text):
  """Returns the words of a text, classed by their first letter."""
  kind = lambda word: 'vowel' if word[0] in 'aeiou' else 'consonant'
  return [(found.start(), found.end(), kind(found[0])) for found in re.finditer(r'\w+', text)]


INITIALS = 'tests.cli.test_mask_rows:initials'


# Prepared data. ---------------------------------------------------------------------------------


def corpus(path):
  """Writes lines of words; 'red fox' is in each."""
  draw = np.random.default_rng(0)
  lines = []
  for _ in range(400):
    words = draw.choice(WORDS, draw.integers(6, 16)).tolist()
    words.insert(draw.integers(len(words)), 'red fox')
    lines.append(' '.join(words))
  path.write_text('\n'.join(lines))
  return path


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """Returns data whose words have classes by a function, and that knows collocations."""
  return store.open_prepared(shared_runs.once(tmp_path_factory, 'red_fox', prepare) / 'data')


def prepare(folder):
  config = toys.training_config(
    corpus(folder / 'corpus.txt'), **SMALL, data__collocations=2, data__classes=INITIALS
  )
  prepare_lib.prepare(config.data, folder / 'data', lambda line: None)


def words_of(lines):
  """Returns (all words, those that are hidden)."""
  text = ' '.join(lines)
  return re.findall(r'\w+', text), chosen(text)


def test_a_text_is_cut_as_the_prepared_data_and_has_their_counts(capsys, prepared):
  flags = ('--text=red  bird fox\tred', f'--workdir={prepared.directory}')
  line, counts = shown(capsys, *flags, '--visits=1', '--config.masking.rate=1e-6')
  assert line == 'red bird fox red' and counts.startswith('  0 of 4 pieces')
  lines = visits(
    capsys,
    *flags,
    '--config.masking.rate=0.2',
    '--config.masking.selection=frequency',
    '--config.masking.frequency_power=9',
    '--config.masking.corruption_probs=(1.0,0.0,0.0)',
    '--visits=8',
  )
  assert {word for line in lines for word in chosen(line)} == {'bird'}  # the rarest by far


@pytest.mark.parametrize(
  'what, letters',
  (
    ('text', 'vowel'),
    ('row', 'consonant'),
    pytest.param('text', 'consonant', marks=pytest.mark.slow),
    pytest.param('row', 'vowel', marks=pytest.mark.slow),
  ),
)
def test_the_classes_of_a_function_decide_what_is_hidden(capsys, prepared, what, letters):
  weights = {'consonant': '(1.0,0.0)', 'vowel': '(0.0,1.0)'}[letters]
  given = {'text': '--text=able bird easy fish idle gold able hill', 'row': '--row=0'}[what]
  lines = shown(
    capsys,
    given,
    f'--workdir={prepared.directory}',
    '--policy=pos_weighted',
    f'--allow-code={INITIALS}',
    '--visits=1',
    f'--config.masking.class_weights={weights}',
    '--config.masking.rate=1',
    '--config.masking.corruption_probs=(1.0,0.0,0.0)',
  )
  everything, hidden = words_of(line for line in lines if not line.startswith('  '))
  assert hidden == [word for word in everything if (word[0] in 'aeiou') == (letters == 'vowel')]
  assert 0 < len(hidden) < len(everything)


def test_a_class_name_that_the_data_never_met_is_not_a_class(prepared):
  data = config_lib.base().data
  data.classes = INITIALS
  text, tokenizer = 'able bird', prepared.tokenizer
  both = mask_preview.classes_of(text, tokenizer, data, ('consonant', 'vowel'))
  one = mask_preview.classes_of(text, tokenizer, data, ('vowel',))
  assert (both.tolist(), one.tolist()) == ([0, 2, 1, 0], [0, 1, 0, 0])


@pytest.mark.parametrize('given', ('--text=able red fox bird fox red fox', '--row=1'))
def test_collocations_are_hidden_as_a_whole(capsys, prepared, given):
  lines = visits(
    capsys,
    given,
    f'--workdir={prepared.directory}',
    '--policy=pmi',
    '--visits=12',
    '--config.masking.rate=0.5',
    '--config.masking.corruption_probs=(1.0,0.0,0.0)',
  )
  text = '\n'.join(lines)
  assert text.count('⟦red⟧ ⟦fox⟧') > 3 and text.count('red fox') > 3
  assert not text.count('⟦red⟧ fox') and not text.count('red ⟦fox⟧')


def test_a_row_is_the_held_out_one_of_that_number(capsys, prepared):
  (rows,) = prepared.validation
  for number in (0, 3, len(rows) - 1):
    lines = visits(
      capsys,
      f'--row={number}',
      f'--workdir={prepared.directory}',
      '--visits=1',
      '--config.masking.rate=1e-6',
    )
    texts = prepared.tokenizer.decode(rows.tokens_RL[number]).split('[CLS]')[1:]
    assert lines == [text.replace('[SEP]', '').strip() for text in texts]
    assert len(lines) == (rows.starts_RS[number] >= 0).sum()
  says = f'--row={len(rows)}: the held-out rows of {prepared.directory} are 0 to {len(rows) - 1}'
  assert says in refused(capsys, f'--row={len(rows)}', f'--workdir={prepared.directory}')
  assert '--row=-1: ' in refused(capsys, '--row=-1', f'--workdir={prepared.directory}')


def test_an_own_selection_has_rows_of_the_length_of_the_data(capsys, prepared):
  for given in ('--text=able bird', '--row=0'):
    says = refused(
      capsys,
      given,
      f'--workdir={prepared.directory}',
      '--config.masking.selection=tests.masking.own:Eight',
    )
    assert f'of a row of {ROW} tokens: ValueError: rows of 8 only' in says


def test_the_classes_of_a_treebank_are_shown_on_its_rows(capsys, tmp_path):
  draw = np.random.default_rng(0)
  treebank(
    tmp_path / 'a.conllu',
    [
      [(word, 'NOUN' if word < 'm' else 'VERB', ' ') for word in draw.choice(WORDS, 20)]
      for _ in range(200)
    ],
  )
  config = toys.training_config(
    '',
    **SMALL
    | dict(
      data__source=f'conllu:{tmp_path}/a.conllu',
      data__classes='conllu',
      data__vocab_size=261 + len(WORDS),
    ),
  )
  data = prepare_lib.prepare(config.data, tmp_path / 'data', lambda line: None)
  weights = tuple(float(name == 'NOUN') for name in data.classes)
  flags = (
    f'--workdir={tmp_path}',
    '--policy=pos_weighted',
    f'--config.masking.class_weights={weights}',
    '--config.masking.rate=1',
    '--config.masking.corruption_probs=(1.0,0.0,0.0)',
    '--visits=1',
  )
  everything, hidden = words_of(visits(capsys, '--row=2', *flags))
  assert hidden == [word for word in everything if word < 'm'] and 3 < len(hidden) < len(everything)
  assert "classes come from the data's treebank" in refused(capsys, '--text=able bird', *flags)


# A run. -----------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def workdir(prepared, tmp_path_factory):
  """Returns the folder of a run whose data is elsewhere."""
  settings = prepared.manifest['settings']
  config = toys.training_config(
    settings['source'].removeprefix('text:'),
    **SMALL,
    data__collocations=2,
    data__classes=INITIALS,
    mesh__devices=1,
    total_steps=2,
    checkpoint__every=2,
    evaluation__every=2,
    data__prepared=str(prepared.directory),
    masking__unit='collocation',
    masking__selection='accuracy',
    masking__schedule='linear',
    masking__rate=0.5,
    masking__final_rate=0.25,
    masking__corruption_probs=(1.0, 0.0, 0.0),
  )

  def train(folder):
    with shared_runs.without_scores():
      pretraining.run(config, folder / 'run', lambda line: None)

  return shared_runs.once(tmp_path_factory, 'red_fox_run', train) / 'run'


def learned(monkeypatch, workdir, word):
  """Makes the run one that has learned to hide one word."""
  opened = mlm_jax.open_run(workdir)
  weight_V = np.full(opened.tokenizer.size, 1e-6, np.float32)
  weight_V[opened.tokenizer.encode(word)] = 1
  opened.aux = opened.aux | {'weight_V': weight_V}
  monkeypatch.setattr(
    'mlm_jax.inference.predictor.open_run',
    lambda folder: opened if str(folder) == str(workdir) else None,
  )


SENTENCE = 'able bird cold dune easy fish gold hill idle jump kind lamp red fox able bird'


def test_a_run_shows_its_own_policy_with_what_it_has_learned(capsys, monkeypatch, workdir):
  learned(monkeypatch, workdir, 'gold')
  flags = (f'--workdir={workdir}', f'--text={SENTENCE}', '--visits=10')
  assert all('⟦gold⟧' in line for line in visits(capsys, *flags))
  for other in ('--policy=amlm', '--config.masking.sampling=fixed_count'):
    lines = visits(capsys, *flags, other)
    assert not all('⟦gold⟧' in line for line in lines)


def test_the_progress_of_a_run_is_its_checkpoints_unless_it_is_given(capsys, workdir):
  flags = (f'--workdir={workdir}', f'--text={SENTENCE}', '--visits=4')
  tokens = (*flags, '--config.masking.unit=token')
  numbers = lambda *more: {len(chosen(line)) for line in visits(capsys, *tokens, *more)}
  assert numbers() == numbers('--progress=0') == {8}  # not its own any more
  assert numbers('--progress=1') == {4}
  for more, expected in (((), 4), (('--progress=0',), 8), (('--progress=0.5',), 6)):
    lines = visits(capsys, *flags, *more)
    assert all(
      abs(len(chosen(line)) - expected) < 2 for line in lines
    )  # within a collocation of the budget


def test_flags_change_the_policy_of_a_run(capsys, workdir):
  flags = (f'--workdir={workdir}', f'--text={SENTENCE}', '--visits=8', '--progress=0')
  own = '\n'.join(visits(capsys, *flags, '--config.masking.selection=uniform'))
  assert '⟦red⟧ ⟦fox⟧' in own and not re.search('⟧ fox|red ⟦', own.replace('⟦red⟧ ⟦fox⟧', ''))
  assert '⟦' in own and '⟪' not in own and '⟨' not in own  # its split, and its units
  other = '\n'.join(visits(capsys, *flags, '--policy=roberta', '--config.masking.rate=0.5'))
  assert re.search('⟧ fox|red ⟦', other) and '⟪' in other and '⟨' in other


def test_a_run_needs_its_data_only_for_rows_and_classes(capsys, workdir, prepared, tmp_path):
  data = shutil.copytree(prepared.directory, tmp_path / 'data')
  workdir = shutil.copytree(workdir, tmp_path / 'run')
  config = (workdir / 'config.json').read_text()
  (workdir / 'config.json').write_text(config.replace(str(prepared.directory), str(data)))
  texts = (f'--text={SENTENCE}', '--visits=2')
  row, classes = ('--row=0',), (*texts, '--policy=pos_weighted', f'--allow-code={INITIALS}')
  with_data = [visits(capsys, f'--workdir={workdir}', *flags) for flags in (texts, row, classes)]
  assert visits(
    capsys, f'--workdir={data}', '--row=0', '--config.masking.rate=1e-6', '--visits=1'
  ) == [re.sub(r'[⟦⟧]', '', line) for line in with_data[1][: len(with_data[1]) // 3]]
  shutil.rmtree(data)
  assert visits(capsys, f'--workdir={workdir}', *texts) == with_data[0]
  for flags in (row, classes):
    said = refused(capsys, f'--workdir={workdir}', *flags)
    assert f'{data} holds no prepared data' in said


def test_data_of_another_tokenizer_cannot_give_rows_of_a_run(capsys, workdir, monkeypatch):
  opened = mlm_jax.open_run(workdir)
  opened.tokenizer.sha256 = 'another'
  monkeypatch.setattr('mlm_jax.inference.predictor.open_run', lambda folder: opened)
  assert 'prepared with another tokenizer' in refused(capsys, f'--workdir={workdir}', '--row=0')


def test_run_masked_asks_the_function_for_the_classes_of_texts(workdir, prepared):
  run = mlm_jax.open_run(workdir, allow_code=[INITIALS])
  policy = masking.make(
    prepared.table,
    unit='word',
    selection='class',
    class_weights=(0.0, 1.0),
    rate=1.0,
    corruption_probs=(1.0, 0.0, 0.0),
  )
  texts = ['able bird', SENTENCE] * 20
  for text, pieces in zip(texts, run.masked(texts, policy), strict=True):
    hidden = ''.join(each.piece for each in pieces if each.action).replace('▁', ' ').split()
    assert hidden == [word for word in text.split() if word[0] in 'aeiou']
  run._last.masking.update(selection='class')
  with pytest.raises(config_lib.UserError, match='does not name the classes; give policy='):
    run.masked(texts)


def test_no_run_begins_with_a_selection_that_fails_at_its_rows(capsys, prepared, tmp_path):
  settings = prepared.manifest['settings']
  flags = [f'--config.data.{key}={value}' for key, value in settings.items() if value != '']
  recipe = tmp_path / 'recipe.py'
  recipe.write_text(
    'from mlm_jax import config\n\n\ndef get_config(variant=None):\n  return config.base()\n'
  )
  for name in ('Eight', 'EightNumbers'):
    status, _, err = call(
      capsys,
      'train',
      f'--config={recipe}',
      f'--workdir={tmp_path}/run',
      f'--config.data.prepared={prepared.directory}',
      f'--config.masking.selection=tests.masking.own:{name}',
      '--config.batch_size=8',
      *flags,
    )
    assert (
      status == 2 and f'of a row of {ROW} tokens' in err and len(err.strip().splitlines()) == 1
    ), err
    assert not (tmp_path / 'run').exists()
  assert store.finished(prepared.directory)
