"""A sweep's folder with invented logs."""

import json
import types

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.evaluation import segment_scores
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import sweep_results
from mlm_jax.training import workdir as workdir_lib
from tests import toys

STEPS = 6
RATES = {'rate=0.15': 4.0, 'rate=0.3': 3.9, 'rate=0.8': 4.6}
# What the seeds do to every arm, and what is left of them in a pair.
SEED = (0.05, -0.02, 0.01, -0.04)
NOISE = {
  'rate=0.15': (0.0, 0.0, 0.0, 0.0),
  'rate=0.3': (0.003, -0.002, 0.001, -0.002),
  'rate=0.8': (-0.004, 0.002, 0.003, -0.001),
}


def loss(arm, seed):
  """Returns the final reference loss of a run."""
  return round(RATES[arm] + SEED[seed] + NOISE[arm][seed], 6)


# Under its own policy an arm is better by this: it was trained to guess what that hides.
OWN = 0.2


def loss_under(policy, final, rate):
  """Returns the loss under an arm's policy of a run with a final reference loss."""
  return round(final + RATES[policy] / 10 - (OWN if policy == f'rate={rate}' else 0), 6)


def _masking(policy):
  """Returns the settings of an arm's policy."""
  return json.loads(_config(masking__rate=float(policy.split('=')[1])))['masking']


_configs = {}  # {what was set: JSON}: each is made and checked once


def _config(**settings):
  key = repr(settings)
  if key not in _configs:
    _configs[key] = config_lib.to_json(toys.config(**settings))
  return _configs[key]


def sweep(folder, seeds=3, rates=RATES, **plan):
  """Writes a sweep over masking.rate that is done and scored; returns its folder."""
  folder.mkdir()
  runs = [
    {
      'name': f'{arm}_seed={seed}',
      'arm': arm,
      'seed': seed,
      'total_steps': STEPS,
      'settings': {'masking.rate': float(arm.split('=')[1]), 'seed': seed},
    }
    for arm in rates
    for seed in range(seeds)
  ]
  write(
    folder / 'sweep.json',
    {
      'question': 'Which rate?',
      'experiment': 'experiments/rates',
      'budget': 'tokens',
      'baseline': 'rate=0.15',
      'negative_control': None,
      'metric': 'reference_loss',
      'direction': 'min',
      'policies': {arm: _masking(arm) for arm in rates},
      'runs': runs,
      **plan,
    },
  )
  (folder / 'base.json').write_text(_config())
  for entry in runs:
    run(
      folder / 'runs' / entry['name'],
      loss(entry['arm'], entry['seed']),
      entry['settings']['masking.rate'],
    )
  return folder


def run(folder, final, rate, until=STEPS, **settings):
  """Writes the folder of a run that ended, or is at the step `until`."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(_config(masking__rate=rate, **settings))
  write(folder / 'environment.json', [{'data_fingerprint': 'f' * 64, 'tokenizer': 'a' * 64}])
  steps = range(2, until + 1, 2)
  lines(
    folder / 'metrics.jsonl',
    [
      {'step': step, 'loss': final + 0.1, 'padding': 0.25, 'predicted': rate * 5 / 8}
      for step in steps
    ],
  )
  lines(
    folder / 'timing.jsonl',
    [{'step': step, 'seconds': 0.5, 'model_flops_per_second': 1e6} for step in steps],
  )
  lines(
    folder / 'evaluations.jsonl',
    [
      {
        'step': step,
        'reference_loss': round(final + (STEPS - step) * 0.2, 6),
        'reference_accuracy': 0.2 + step / 100,
        'reference_perplexity': 54.0,
        'policy_loss': final - 0.1,
      }
      for step in steps
    ],
  )
  if until == STEPS:
    finished(folder, final, rate)


def of_sources(folder, sources=('wiki', 'news'), until=STEPS, **settings):
  """Writes the folder of a run of several sources, each with its own held-out loss."""
  run(folder, 4.0, 0.15, until=until, **settings)
  log = folder / 'evaluations.jsonl'
  each = {source: 0.1 * (n + 1) for n, source in enumerate(sources)}
  evaluations = [json.loads(line) for line in log.read_text().splitlines()]
  lines(
    log,
    [
      line
      | {f'reference_loss_on_{name}': line['reference_loss'] + n for name, n in each.items()}
      | {f'policy_loss_on_{name}': line['policy_loss'] + n for name, n in each.items()}
      for line in evaluations
    ],
  )


def finished(folder, final, rate):
  """Writes what a finished run has besides its logs."""
  write(folder / 'checkpoints' / str(STEPS) / 'sha256.json', {'loss': final, 'files': {}})
  write(folder / workdir_lib.FINISHED, {'step': STEPS, 'reason': 'all steps'})
  scores = {policy: loss_under(policy, final, rate) for policy in RATES}
  under = [
    {'masking': _masking(policy), 'loss': score, 'accuracy': round(0.9 - score / 10, 6)}
    for policy, score in scores.items()
  ]
  write(folder / 'scores.json', {'step': STEPS, 'under': under})
  kind = lambda *names: [
    {'slice': name, 'tokens': 100, 'loss': round(final + n, 6), 'accuracy': 0.3 - n / 10}
    for n, name in enumerate(names)
  ]
  write(
    folder / 'slices.json',
    {
      'step': STEPS,
      'reference': {
        'tokens': 200,
        'loss': final,
        'accuracy': 0.26,
        'characters': 400,
        'bits_per_character': round(final / 2 / 0.6931472, 6),
      },
      'slices': {
        'frequency': kind('most frequent fifth', 'rarest fifth'),
        'piece': kind('starts a word', 'continues a word'),
        'policy action': kind('masked', 'random', 'kept'),
      },
    },
  )


# Of the segments that every run is scored on: the masked tokens, and what each adds to the loss of
# a token there, in every run alike.
TOKENS = np.array([3, 1, 4, 2, 6, 5, 4, 3, 2, 2] * 4)
HARD = np.linspace(-1, 1, 40)


def by_segment(folder, final, tilt=0.0, step=STEPS, tokens_N=TOKENS):
  """Writes a run's scores by segment, whose mean is a final loss.

  With a tilt the run is better on some segments and worse on others.
  """
  loss_N = tokens_N * (1 + tilt) * HARD
  loss_N += tokens_N * (final - loss_N.sum() / tokens_N.sum())
  number_N = np.arange(len(tokens_N))
  arrays = {
    'source_N': 0 * number_N,
    'row_N': number_N // 2,
    'segment_N': 1 + number_N % 2,
    'tokens_N': tokens_N,
    'loss_N': loss_N,
    'hits_N': tokens_N // 3,
  }
  holder = types.SimpleNamespace(step=np.int64(step), **arrays)
  files.write_arrays(folder / segment_scores.FILE, holder)


def write(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


def lines(path, contents):
  path.write_text(''.join(json.dumps(each) + '\n' for each in contents))


def change(path, **values):
  """Changes fields of a JSON file."""
  write(path, json.loads(path.read_text()) | values)


def alike(folder):
  """Makes all arms of a sweep of three seeds hide the same, whatever they are called."""
  change(folder / 'sweep.json', policies={})
  for arm in RATES:
    for seed, place in enumerate(of_arm(folder, arm)):
      run(place, loss(arm, seed), 0.15)


def of_arm(folder, arm):
  """Returns the folders of an arm's runs."""
  return sorted((folder / 'runs').glob(f'{arm}_*'))


def find(folder):
  """Returns what a sweep is found to show."""
  return findings_lib.find(sweep_results.read(folder))
