"""Every number that notes give as a result is that of a file beside them."""

import collections

from tests.experiments import notes

FOLDERS = ('.', '../masking_rate_predictions', '../masking_rate_flops')
SAMPLERS = ('window', 'pivotal, equal weights', 'pivotal, unequal weights')


def test_pair_probabilities():
  said = notes.Notes('experiments/pair_probabilities/NOTES.md')
  table = said.read('pairs.csv')
  ratio = {(row['sampler'], row['rate'], row['tokens a unit']): row for row in table}
  sizes = ('1', '2', '3', '4', '5', '8')
  for rate in ('0.05', '0.15', '0.4'):
    for sampler in SAMPLERS:
      of_sizes = [float(ratio[sampler, rate, size]['ratio']) for size in sizes]
      said.shows([[rate.removeprefix('0'), sampler, *(notes.short(each, 2) for each in of_sizes)]])
  for row in table:
    if row['sampler'] == 'independent':
      assert abs(float(row['ratio']) - 1) < 3 * float(row['standard error'])
  said.says('Independent draws, measured alike, are within three standard errors of 1 everywhere')
  # Above the table stand the sizes themselves.
  said.done(settings='1 2 3 4 5 8')


def of_rate(arm):
  """Returns an arm of a sweep of rates as the notes name it: .15."""
  return arm.removeprefix('rate=0')


def shows_rates(said, sweep, *spent):
  """Asserts that a text has a line for each rate: what it has spent, its scores, its difference."""
  for arm in sweep.arms:
    cells = [column(arm) for column in spent]
    difference = sweep.difference(arm, 'rate=0.15')
    said.shows([[of_rate(arm), *cells, sweep.loss(arm), sweep.accuracy(arm), difference]])


def test_masking_rate():
  said = notes.Notes('experiments/masking_rate/NOTES.md')
  sweep = notes.Sweep(said)
  shows_rates(said, sweep, lambda arm: sweep.thousands(arm, 'predictions'), sweep.flops)
  control = sweep.against['rate=0.8', 'rate=0.15', 'reference']
  assert (control['tested'], control['verdict']) == ('alone', 'undecided')
  last = sorted(sweep.column('rate=0.8', 'reference_loss'), reverse=True)
  said.says(
    f'Rate .8 is {notes.interval(control)} against .15, tested on its own: one of its three seeds '
    'ends at {:.3f}, the others at {:.3f} and {:.3f}.'.format(*last)
  )
  assert sweep.verdicts('rate=0.15') == {
    'higher': ['rate=0.05'],
    'lower': ['rate=0.3', 'rate=0.4', 'rate=0.5'],
    'undecided': ['rate=0.6'],
  }
  said.says('the rates .3, .4 and .5 end below .15, and .05 above it', 'That of .6 does not')
  flat = sweep.against['rate=0.5', 'rate=0.3', 'reference']
  assert flat['verdict'] == 'undecided'
  said.says(
    f'the region from .3 to .5 is flat is not decided: .5 against .3 is {notes.interval(flat)}'
  )
  assert sweep.mean('rate=0.8', 'flops') > 2 * sweep.mean('rate=0.15', 'flops')
  said.says('.8 more than twice those of .15')
  budgets = [notes.Sweep(said, folder) for folder in FOLDERS]
  pairs = [
    *((f'rate={rate}', 'rate=0.15') for rate in (0.3, 0.4, 0.5, 0.6)),
    ('rate=0.5', 'rate=0.3'),
  ]
  for arm, other in pairs:
    differences = (budget.difference(arm, other) for budget in budgets)
    said.shows([[f'{of_rate(arm)} to {of_rate(other)}', *differences]])
  # Of equal predictions, the test below has the verdicts.
  said.says('.3, .4 and .5 end below .15, which', 'none is found to, and .4 ends above it')
  assert budgets[2].against['rate=0.3', 'rate=0.15', 'reference']['verdict'] == 'lower'
  said.says('at equal FLOPs .3 ends below it')
  said.done(settings='.15 0 .9 95')


def test_known_truth():
  said = notes.Notes('experiments/known_truth/NOTES.md')
  arms = collections.defaultdict(dict)
  for row in said.read('gap.csv'):
    arms[row['arm']][row['rate']] = {name: float(row[name]) for name in row if name != 'arm'}
  percent = lambda row: f'{100 * row["above the optimum"]:.1f} %'
  for arm, by_rate in arms.items():
    at = by_rate['0.15']
    losses = [f'{at[name]:.3f}' for name in ('unigram', 'bigram', 'optimum', 'model')]
    said.shows([[arm, *losses, *(percent(by_rate[rate]) for rate in ('0.15', '0.3', '0.5'))]])
  one = arms['8 states']
  assert percent(one['0.15']) == percent(one['0.5'])
  at = one['0.15']
  closed = (at['unigram'] - at['model']) / (at['unigram'] - at['optimum'])
  said.says(
    f'ends {percent(at)} above the optimum, at .15 as at .5, and has gone {100 * closed:.0f} %'
  )
  gaps = {name: percent(by_rate['0.15']) for name, by_rate in arms.items()}
  seeds = sorted(gaps[f'4 states, seed {seed}'].removesuffix(' %') for seed in range(3))
  others = [gaps[f'4 states, language {n}'] for n in (1, 2)]
  said.says(
    f'ends {seeds[0]} to {seeds[-1]} % above the optimum in three seeds of one language, '
    f'{others[0].removesuffix(" %")} and {others[1]} in one seed'
  )
  grows = {
    name.removeprefix('4 states, '): by_rate['0.5']['above the optimum']
    > by_rate['0.15']['above the optimum']
    for name, by_rate in arms.items()
  }
  assert all(grows[each] for each in ('seed 0', 'seed 1', 'seed 2', 'language 2'))
  assert not grows['language 1']
  said.says(
    f'ends at {gaps["4 states, usual initialisation"]} where `model.init=neighbours` ends at '
    f'{gaps["4 states, seed 0"]}'
  )
  # Above the table stand its rates; languages have numbers.
  said.done(settings='.15 .3 .5 8 4 1 2')
  guide = notes.Notes('docs/comparisons.md')
  guide.says(f'is {seeds[0]} to {seeds[-1]} % above it on 4 states and {percent(at)} on 8')


def test_masking_rate_at_equal_predictions():
  said = notes.Notes('experiments/masking_rate_predictions/NOTES.md')
  sweep = notes.Sweep(said)
  shows_rates(said, sweep, sweep.steps, lambda arm: sweep.thousands(arm, 'tokens'), sweep.flops)
  control = sweep.against['rate=0.8', 'rate=0.15', 'reference']
  assert (control['tested'], control['verdict']) == ('alone', 'higher')
  said.says(f'rate .8 is {notes.interval(control)} against .15, tested on its own')
  (predictions,) = {sweep.thousands(arm, 'predictions') for arm in sweep.arms}
  said.says(f'Every arm made {predictions} predictions')
  assert sweep.verdicts('rate=0.15') == {
    'higher': ['rate=0.4'],
    'undecided': ['rate=0.3', 'rate=0.5', 'rate=0.6'],
  }
  more = sweep.against['rate=0.5', 'rate=0.3', 'reference']
  assert more['verdict'] == 'higher'
  said.says(
    f'.4 is worse than .15, and .5 worse than .3 by {notes.interval(more)}. That .3, .5 and .6 are '
    'worse than .15 is undecided',
    f'.8 has {sweep.steps("rate=0.8")} steps for the {sweep.steps("rate=0.15")} of .15',
  )
  # The rate that none is found better than, and the level of the intervals.
  said.done(settings='.15 0 95')


def test_masking_rate_at_equal_flops():
  said = notes.Notes('experiments/masking_rate_flops/NOTES.md')
  sweep = notes.Sweep(said)
  tokens, predictions = (
    lambda arm, name=name: sweep.thousands(arm, name) for name in ('tokens', 'predictions')
  )
  shows_rates(said, sweep, sweep.steps, tokens, predictions)
  control = sweep.against['rate=0.8', 'rate=0.15', 'reference']
  said.says(f'rate .8 is {notes.interval(control)} against .15, tested on its own')
  assert control['tested'] == 'alone' and control['verdict'] == 'higher'
  flops = [sweep.mean(arm, 'flops') for arm in sweep.arms]
  assert max(flops) / min(flops) < 1.001
  said.says(f'Every arm spent {sweep.flops("rate=0.15")} FLOPs to .1 %')
  for (arm, other, _), row in sweep.against.items():
    if row['tested'] == 'family':
      said.shows([[f'{of_rate(arm)} to {of_rate(other)}', notes.interval(row), row['verdict']]])
  said.done(settings='.15 0 95')


def test_rate_schedule():
  said = notes.Notes('experiments/rate_schedule/NOTES.md')
  sweep = notes.Sweep(said)
  constant = 'schedule=constant_rate=0.3'
  fixed = {constant: 'constant .3', 'schedule=constant_rate=0.8': 'constant .8'}
  moving = {
    f'schedule={shape}_rate=0{a}_final_rate=0{b}': f'{shape}, {a} to {b}'
    for shape in ('linear', 'cosine')
    for a, b in (('.45', '.15'), ('.15', '.45'))
  }
  for arm, name in (fixed | moving).items():
    scores = sweep.loss(arm), sweep.accuracy(arm), sweep.difference(arm, constant)
    said.shows([[name, sweep.steps(arm), *scores]])
  control = sweep.against['schedule=constant_rate=0.8', constant, 'reference']
  assert (control['tested'], control['verdict']) == ('alone', 'higher')
  said.says(f'a constant .8 is {notes.interval(control)} against .3, tested on its own')
  assert {name: {*arms} for name, arms in sweep.verdicts(constant).items()} == {
    'undecided': {*moving}
  }
  falling, rising = [*moving][::2], [*moving][1::2]
  linear, cosine = (sweep.against[*pair, 'reference'] for pair in zip(falling, rising))
  assert linear['verdict'] == cosine['verdict'] == 'undecided'
  said.says(
    f'linear {notes.interval(linear)} and cosine {notes.interval(cosine)}',
    "every interval but the control's includes 0",
  )
  predictions = [count for arm in sweep.arms for count in sweep.column(arm, 'predictions')]
  assert max(predictions) / min(predictions) < 1.001
  said.says(f'All runs made {sweep.thousands(constant, "predictions")} predictions, to .1 %')
  said.done(settings='.3 95')


POLICIES = {
  'unit=token': 'token',
  'unit=word': 'word',
  'unit=span': 'span',
  'unit=collocation': 'collocation',
  'selection=frequency': 'rare pieces first',
  'rate=0.9': 'rate .9',
}


def test_masking_policy():
  said = notes.Notes('experiments/masking_policy/NOTES.md')
  sweep = notes.Sweep(said)
  control = sweep.against['rate=0.9', 'unit=token', 'reference']
  assert (control['tested'], control['verdict']) == ('alone', 'higher')
  said.says(
    f'The negative control holds: rate .9 is {notes.interval(control)} against single tokens'
  )
  for (arm, _, under), row in sweep.against.items():
    if row['tested'] == 'family':
      said.shows([[POLICIES[arm], POLICIES[under], notes.interval(row), row['verdict']]])
  for arm, name in POLICIES.items():
    losses = (sweep.mean(arm, f'loss_under_{policy}') for policy in POLICIES)
    said.shows([[name, *(f'{loss:.3f}' for loss in losses)]])
    said.shows([[name, sweep.loss(arm), sweep.accuracy(arm)]])
  for policy in ('unit=word', 'unit=collocation'):
    assert sweep.verdicts('unit=token', policy) == {'lower': [policy]}
  assert sweep.verdicts('unit=token', 'unit=span') == {'undecided': ['unit=span']}
  assert list(sweep.verdicts('unit=token', 'unit=token')) == ['higher']
  predictions = [count for arm in POLICIES for count in sweep.column(arm, 'predictions')]
  even = [count for count in predictions if count < 1e6]
  assert len(even) == 15 and max(even) / min(even) < 1.0025
  said.says('make the same number of predictions to .25 %')
  kinds = collections.defaultdict(list)
  for row in said.read('slices.csv'):
    kinds[row['arm'], row['slice']].append(float(row['loss']))
  mean = {key: f'{sum(losses) / len(losses):.2f}' for key, losses in kinds.items()}
  of = lambda kind, *arms: [mean[arm, kind] for arm in arms]
  words = 'unit=word', 'unit=token'
  said.says(
    'pieces that continue a word cost it {} nats, the token policy {}'.format(
      *of('continues a word', *words)
    ),
    'Of punctuation it is the other way round, {} and {}'.format(*of('punctuation', *words)),
  )
  rare = 'selection=frequency', 'unit=token'
  said.says(
    'the rarest fifth of the pieces {} nats against {}'.format(*of('rarest fifth', *rare)),
    'the most frequent fifth {} against {}'.format(*of('most frequent fifth', *rare)),
  )
  # The level of the intervals, the control, and the uniform guess.
  said.done(settings='95 .9 0 4,096 8.32')


def of_guesses(scores):
  """Returns {name: (loss, accuracy)}, as cells, of what `evaluate --baselines` has printed."""
  return {
    name: (f'{scores[f"{name}_loss"]:.3f}', notes.short(scores[f'{name}_accuracy'], 3))
    for name in ('unigram', 'bigram', 'reference')
  }


def test_novels_small():
  said = notes.Notes('experiments/novels_small/NOTES.md')
  scores = said.numbers('scores.json')
  guess = {name: scores[f'{name}_loss'] for name in ('unigram', 'bigram')}
  cells = of_guesses(scores)
  said.shows([['unigram guess', *cells['unigram'], '', '']])
  said.shows([['bigram guess', *cells['bigram'], '', '']])
  curve = collections.defaultdict(dict)
  for row in said.read('curve.csv'):
    if row['metric'] in ('reference_loss', 'reference_accuracy') and not row['source']:
      curve[int(row['step'])][row['metric']] = float(row['value'])
  for step, at in curve.items():
    below = (notes.short(guess[name] - at['reference_loss'], 3) for name in guess)
    accuracy = notes.short(at['reference_accuracy'], 3)
    said.shows([[f'step {step:,}', f'{at["reference_loss"]:.3f}', accuracy, *below]])
  last = scores['reference_loss']
  assert f'{last:.3f}' == f'{curve[scores["step"]]["reference_loss"]:.3f}'
  below = [notes.short(guess[name] - last, 3) for name in guess]
  said.says(f'The run ends {below[0]} nats below the unigram and {below[1]} below the bigram guess')
  recipe = notes.Notes('configs/novels_small.py')
  recipe.says(
    f'the reference loss ends at {last:.3f}, {below[0]} nats below a unigram and {below[1]} below '
    'a bigram guess'
  )
  said.done()


def test_demo():
  said, readme = notes.Notes('experiments/demo/NOTES.md'), notes.Notes('README.md')
  scores = said.numbers('scores.json')
  cells = of_guesses(scores)
  said.shows([['unigram guess', *cells['unigram']], ['bigram guess', *cells['bigram']]])
  said.shows([[f'the model, after {scores["step"]:,} steps', *cells['reference']]])
  said.done(settings='15 512')
  readme.shows([['unigram guess', *cells['unigram']]])
  readme.shows([['bigram guess, shown the true left neighbour', *cells['bigram']]])
  readme.shows([[f'the model, after {scores["step"]:,} steps', *cells['reference']]])
