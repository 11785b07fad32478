"""Zero-shot suites through the command and the run, beside brute force."""

import json

import numpy as np
import pytest

import mlm_jax
from mlm_jax import __main__
from mlm_jax import config as config_lib
from mlm_jax.inference import zero_shot
from tests import shared_runs
from tests import toys
from tests.inference.test_likelihood import louder
from tests.inference.test_predictor import by_hand


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return shared_runs.from_the_command_line(tmp_path_factory)


@pytest.fixture(scope='module')
def run(workdir):
  return louder(mlm_jax.open_run(workdir))


def write(path, *records):
  path.write_text('\n'.join(json.dumps(each) for each in records) + '\n')
  return path


def found(result, subset='all'):
  return {each['metric']: each for each in result['scores'] if each['subset'] == subset}


PAIRS = [
  {'sentence_good': good, 'sentence_bad': bad, 'UID': 'one' if n < 3 else 'two', 'field': 'syntax'}
  for n, (good, bad) in enumerate(
    [
      ('a bad cab', 'a bed cab'),
      ('a cab', 'a cab'),  # dropped
      ('a  cab fed', 'a cab fed'),  # a tie
      ('feed him', 'feed her'),
      ('feed her', 'feed him'),
    ]
  )
]


def test_minimal_pairs_count_ties_and_drop_equal_ones(run, tmp_path):
  result = run.evaluate(f'minimal_pairs:{write(tmp_path / "pairs.jsonl", *PAIRS)}')
  good, bad = (
    run.pseudo_log_likelihood([each[f'sentence_{kind}'] for each in PAIRS])
    for kind in ('good', 'bad')
  )
  first = float(good[0] > bad[0])
  one, both = found(result, 'paradigm one'), found(result)
  assert one['accuracy']['score'] == (first + 0.5) / 2
  assert one['compatible']['score'] == (first + 1) / 2
  assert (one['accuracy']['n'], one['accuracy']['dropped']) == (2, 1)
  # The same two sentences the other way round: exactly one of them is right.
  assert found(result, 'paradigm two')['within_word_accuracy']['score'] == 0.5
  assert both['accuracy']['score'] == (first + 1.5) / 4
  assert both == {
    metric: each | {'subset': 'all'} for metric, each in found(result, 'field syntax').items()
  }


def mean_log_p(run, before, option, after):
  """Returns the mean log p of an option whose pieces are all hidden, in a row of its own."""
  encode = run.tokenizer.encode
  left, middle = encode(before), encode(before + ' ' + option)
  whole = encode(before + ' ' + option + ' ' + after)
  assert middle[: len(left)] == left and whole[: len(middle)] == middle
  hidden = [*left, *[run.tokenizer.mask_id] * (len(middle) - len(left)), *whole[len(middle) :]]
  log_LV = by_hand(run, [run.tokenizer.cls_id, *hidden, run.tokenizer.sep_id])
  return np.mean([log_LV[1 + p, whole[p]] for p in range(len(left), len(middle))])


def test_choices_are_those_of_brute_force(run, tmp_path):
  options = ['bad', 'cab', 'dog', 'ponmlkj', 'abcdef', 'hi']
  choices = [
    {'sentence': 'a cab _ fed', 'option1': x, 'option2': y, 'answer': '2'}
    for x, y in zip(options, options[1:])
  ]
  same = {'sentence': 'a _', 'option1': 'b', 'option2': 'b', 'answer': 1}
  result = found(run.evaluate(f'choices:{write(tmp_path / "c.jsonl", *choices, same)}'), 'c')
  scores = np.array([mean_log_p(run, 'a cab', each, 'fed') for each in options])
  assert result['option_accuracy']['score'] == np.mean(scores[1:] > scores[:-1])
  texts = [f'a cab {each} fed' for each in options]
  scores = run.pseudo_log_likelihood(texts)
  assert result['sentence_accuracy']['score'] == np.mean(scores[1:] > scores[:-1])
  assert (result['option_accuracy']['n'], result['option_accuracy']['dropped']) == (5, 1)


def test_facts_are_ranked_as_by_brute_force(run, tmp_path):
  objects = ['bad', 'cab', 'dog', 'ponmlkj', 'abcdef', 'hi']
  (tmp_path / 'patterns').mkdir()
  (tmp_path / 'facts').mkdir()
  write(tmp_path / 'patterns' / 'P1.jsonl', {'pattern': '[X] fed [Y] a'}, {'pattern': '[X] [Y] a'})
  facts = [{'sub_label': f'mo{n}', 'obj_label': each} for n, each in enumerate(objects)]
  write(tmp_path / 'facts' / 'P1.jsonl', *facts)
  result = found(run.evaluate(f'cloze_facts:{tmp_path}'), 'P1')
  ranks = []
  for before in ('mo{} fed', 'mo{}'):
    for n in range(len(objects)):
      scores = np.array([mean_log_p(run, before.format(n), each, 'a') for each in objects])
      ranks.append(1 + (scores > scores[n]).sum())
  assert result['precision_at_1']['score'] == np.mean(np.array(ranks) <= 1)
  assert result['mean_reciprocal_rank']['score'] == pytest.approx(np.mean(1 / np.array(ranks)))
  assert result['mean_reciprocal_rank']['n'] == 6  # facts, in both patterns


def test_every_checkpoint_is_scored_from_the_command_line(workdir, tmp_path, capsys):
  out, data = tmp_path / 'scores.json', write(tmp_path / 'pairs.jsonl', *PAIRS[:1])
  suites = f'--suite=minimal_pairs:{data}'
  __main__.main(['evaluate', f'--workdir={workdir}', suites, '--every', f'--out={out}'])
  checkpoints = json.loads(out.read_text())['checkpoints']
  steps = sorted(int(each.name) for each in (workdir / 'checkpoints').iterdir())
  assert [each['step'] for each in checkpoints] == steps and len(steps) > 1
  last = mlm_jax.open_run(workdir).evaluate(f'minimal_pairs:{data}')
  assert last == checkpoints[-1]
  printed = capsys.readouterr().out.splitlines()
  assert printed[0].split()[:5] == ['step', 'task', 'subset', 'metric', 'score']
  assert len(printed) == 1 + sum(len(each['scores']) for each in checkpoints)


GOOD = {'sentence_good': 'a b', 'sentence_bad': 'a c'}
CHOICE = {'sentence': 'a _ b', 'option1': 'x', 'option2': 'y', 'answer': '1'}


@pytest.mark.parametrize(
  'suite, lines, says',
  [
    ('minimal_pair', '', "suite 'minimal_pair' does not exist, did you mean minimal_pairs; there"),
    ('minimal_pairs', json.dumps(GOOD) + '\n{', 'line 2: is no JSON'),
    ('minimal_pairs', json.dumps(GOOD) + '\n\n[]\n', 'line 2: is an empty line'),
    ('minimal_pairs', '{"sentence_good": "a"}', "line 1: 'sentence_bad' is missing"),
    (
      'minimal_pairs',
      json.dumps({'sentence_good': 'a b c d e f', 'sentence_bad': 'u v w x y z'}),
      'line 1: 6 words of one sentence are not in the other; a minimal pair differs in 5',
    ),
    (
      'minimal_pairs',
      json.dumps({'sentence_good': 'a', 'sentence_bad': 'a'}),
      'no pair has two different sentences',
    ),
    ('choices', json.dumps(CHOICE | {'sentence': 'a b'}), "line 1: 'sentence' must have one blank"),
    ('choices', json.dumps(CHOICE | {'answer': 3}), "line 1: 'answer' is '3', and must be 1 or 2"),
    ('choices', json.dumps(CHOICE | {'option2': '\x01'}), 'the vocabulary cannot write'),
    ('cloze_facts', '{"pattern": "[X] is"}', r"line 1: 'pattern' must have \[X\] and \[Y\]"),
    ('cloze_facts', '{"pattern": "[X] is [Y]"}', 'the relation data has no facts'),
    ('probes', '', 'is no folder: probes need one with a train and a test file'),
    ('likelihood', '{"text": ""}', "line 1: 'text' is '', and must be a text"),
  ],
)
def test_wrong_input_is_one_line(run, tmp_path, suite, lines, says):
  path = tmp_path / 'data.jsonl'
  path.write_text(lines)
  with pytest.raises(config_lib.UserError, match=says):
    run.evaluate(f'{suite}:{path}')


@pytest.mark.parametrize('suites', ['', 'choices', 'choices:', ',', 3, None])
def test_a_suite_is_named_with_its_data(run, suites):
  with pytest.raises(config_lib.UserError, match='suite'):
    run.evaluate(suites)


def test_what_goes_together_and_what_cannot_be_written(workdir, tmp_path, capsys):
  data = write(tmp_path / 'pairs.jsonl', GOOD)
  named = ['evaluate', f'--workdir={workdir}', f'--suite=minimal_pairs:{data}']
  for arguments, says in (
    ([*named, '--baselines'], '--baselines is for held-out text'),
    ([*named, '--every', '--step=6'], 'leave --step out'),
    ([*named[:2], '--every'], '--every is for --suite'),
    ([*named, f'--out={tmp_path}'], 'is no file that can be written'),
    ([*named, f'--out={tmp_path}/absent/a.json'], 'is no file that can be written'),
    ([*named[:2], '--suite=choices:absent.jsonl'], 'cannot read absent.jsonl'),
  ):
    with pytest.raises(SystemExit) as ended:
      __main__.main(arguments)
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(lines) == 1 and says in lines[0]
  assert [each.name for each in tmp_path.iterdir()] == ['pairs.jsonl']


def test_scores_that_are_not_numbers_are_refused(workdir, tmp_path):
  broken = mlm_jax.open_run(workdir)
  broken.trained = broken.trained | {
    'layers': {
      name: {key: x * np.nan for key, x in each.items()} if name == 'attention_norm' else each
      for name, each in broken.trained['layers'].items()
    }
  }
  with pytest.raises(config_lib.UserError, match='gives no numbers: its parameter layers/att'):
    zero_shot.evaluate(broken, f'minimal_pairs:{write(tmp_path / "pairs.jsonl", GOOD)}')


def test_likelihood_is_that_of_the_run(run, tmp_path):
  texts = ['a bad cab', 'ponmlkj fed', 'hi']
  (tmp_path / 'texts.txt').write_text('\n'.join(texts) + '\n')
  result = found(run.evaluate(f'likelihood:{tmp_path / "texts.txt"}'))
  sums = run.pseudo_log_likelihood(texts, within_word=True)
  assert result['within_word_pseudo_log_likelihood']['score'] == pytest.approx(sums.mean())
  perplexity = run.pseudo_perplexity(texts, within_word=True)
  assert result['within_word_pseudo_perplexity']['score'] == pytest.approx(perplexity)
  bits = -run.pseudo_log_likelihood(texts).sum() / np.log(2) / sum(map(len, texts))
  assert result['bits_per_character']['score'] == pytest.approx(bits)
  spread = np.std(sums, ddof=1) / 3**0.5
  error = result['within_word_pseudo_log_likelihood']['standard_error']
  assert error == pytest.approx(spread) and result['bits_per_character']['n'] == 3


def test_the_state_of_a_word_is_that_of_its_first_piece(run):
  sentences = [['cab', 'ponmlkj', 'fed'], ['hi'], ['abcdefgh'] * 30]
  states_KND, sentence_N, word_N = zero_shot.Scorer(run).word_states(sentences)
  tokens = run.embed([' '.join(each) for each in sentences[:2]], layers=[0, 1, 2], tokens=True)
  before = [1 + len(run.tokenizer.encode(text)) for text in ('cab', 'cab ponmlkj')]
  expected = np.concatenate([tokens[0][:, [1, *before]], tokens[1][:, [1]]], axis=1)
  np.testing.assert_allclose(states_KND[:, :4], expected, rtol=1e-4, atol=1e-5)
  assert sentence_N[:5].tolist() == [0, 0, 0, 1, 2] and word_N[:5].tolist() == [0, 1, 2, 0, 0]
  assert 0 < (sentence_N == 2).sum() < 30  # the others have no room in a row


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
  name = 'detector_of_replaced'
  with shared_runs.without_scores():
    settings = {'model__family': 'electra', 'model__embedding_width': 16, 'total_steps': 2}
    return mlm_jax.open_run(
      shared_runs.trained(tmp_path_factory, name, objective__name='rtd', **settings)
    )


def test_a_detector_is_scored_by_its_likelihood_of_originals(detector, tmp_path):
  texts = [each['sentence_good'] for each in PAIRS] + ['a cab ' * 20 + 'fed']
  scorer, encode = zero_shot.Scorer(detector), detector.tokenizer.encode
  tokenizer, room = detector.tokenizer, detector.config.data.row_length - 2
  for text, terms in zip(texts, scorer.text_scores(texts)):
    ids, expected = encode(' '.join(text.split())), []
    for t in range(0, len(ids), room):
      row = np.array([[tokenizer.cls_id, *ids[t : t + room], tokenizer.sep_id]])
      ones, places = np.ones_like(row), np.arange(row.shape[1])[None]
      hidden = toys.apply(detector.model, detector.params, row, ones, places).hidden_BLD
      logits_L = np.asarray(toys.head(detector.model, detector.params, hidden))[0]
      expected += (-np.log1p(np.exp(logits_L)))[1:-1].tolist()  # above 0 means replaced
    np.testing.assert_allclose(terms, expected, rtol=1e-4)
  pairs = write(tmp_path / 'pairs.jsonl', *PAIRS)
  assert set(found(detector.evaluate(f'minimal_pairs:{pairs}'))) == {'accuracy', 'compatible'}
  (tmp_path / 'texts.txt').write_text('a bad cab')
  with pytest.raises(config_lib.UserError, match='suite likelihood needs a model that predicts'):
    detector.evaluate(f'likelihood:{tmp_path / "texts.txt"}')
