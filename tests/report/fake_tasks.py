"""Folders of fine-tuned runs, with invented logs."""

import json

from mlm_jax import config as config_lib
from mlm_jax.training import workdir as workdir_lib
from tests.report import fake

STEPS = 6
LABELS = ['no', 'yes']


def config(**settings):
  # Not open, so that the run that it starts from need not be there.
  own = {'model.family': 'bert', 'data.tokenizer': 'runs/start/tokenizer/tokenizer.model'}
  return config_lib.overlay(
    config_lib.overlay(config_lib.finetuning(), own),
    {
      'init_from': 'runs/start',
      'task.train': 'train.csv',
      'task.test': 'test.csv',
      'total_steps': STEPS,
      **settings,
    },
  )


def run(folder, accuracy=0.75, until=STEPS, test='t' * 64, evaluations=(2, 4, 6), **settings):
  """Writes the folder of a fine-tuned run that ended, or is at the step `until`."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(config_lib.to_json(config(**settings)))
  start = {'tokenizer': 'a' * 64, 'validation_examples': 'v' * 64, 'test_examples': test}
  fake.write(folder / 'environment.json', [start])
  steps = [step for step in evaluations if step <= until]
  fake.lines(
    folder / 'metrics.jsonl',
    [{'step': step, 'loss': 0.9 - step / 100, 'padding': 0.25} for step in steps],
  )
  fake.lines(
    folder / 'timing.jsonl',
    [{'step': step, 'seconds': 0.5, 'model_flops_per_second': 1e6} for step in steps],
  )
  # The best one is in the middle.
  fake.lines(
    folder / 'evaluations.jsonl',
    [
      {
        'step': step,
        'validation_loss': round(0.7 + abs(step - 4) / 10, 6),
        'validation_accuracy': round(0.8 - abs(step - 4) / 100, 6),
        'validation_macro_f1': 0.7,
        'validation_matthews': 0.6,
      }
      for step in steps
    ],
  )
  if until == STEPS:
    finished(folder, accuracy)


def finished(folder, accuracy):
  for step in (4, STEPS):
    fake.write(folder / 'checkpoints' / str(step) / 'sha256.json', {'files': {}})
  fake.write(folder / workdir_lib.FINISHED, {'step': STEPS, 'reason': 'all steps', 'model': 4})
  scores = {'loss': 0.5, 'accuracy': accuracy, 'macro_f1': accuracy - 0.01, 'matthews': 0.5}
  fake.write(
    folder / 'test.json',
    {
      'step': 4,
      'split': 'test',
      'examples': 8,
      'scores': scores,
      'errors': {'labels': LABELS, 'confusions': [[3, 1], [2, 2]]},
    },
  )
  line = lambda text, label, said, p: {
    'text': text,
    'label': label,
    'prediction': said,
    'probabilities': {said: p, next(each for each in LABELS if each != said): round(1 - p, 6)},
  }
  found = [
    line('right and sure', 'no', 'no', 0.99),
    line('wrong and unsure', 'no', 'yes', 0.6),
    line('<b>wrong</b> and sure', 'yes', 'no', 0.9),
    line('wrong', 'yes', 'no', 0.8),
  ]
  text = ''.join(json.dumps(each) + '\n' for each in found)
  (folder / 'predictions.jsonl').write_text(text)


# Of the test examples, by arm and seed: the second arm is better by about .05.
ACCURACY = {'true': (0.70, 0.72, 0.71), 'false': (0.75, 0.772, 0.758)}


def sweep(folder, **plan):
  """Writes a sweep over task.from_scratch whose runs are done; returns its folder."""
  folder.mkdir()
  runs = [
    {
      'name': f'from_scratch={arm}_seed={seed}',
      'arm': f'from_scratch={arm}',
      'seed': seed,
      'total_steps': STEPS,
      'settings': {'task.from_scratch': arm == 'true', 'seed': seed},
    }
    for arm in ACCURACY
    for seed in range(3)
  ]
  described = {
    'question': 'Does pretraining help?',
    'experiment': 'experiments/transfer',
    'budget': 'epochs',
    'baseline': 'from_scratch=true',
    'negative_control': None,
    'metric': 'test_accuracy',
    'direction': 'max',
    'policies': {},
    'runs': runs,
    **plan,
  }
  fake.write(folder / 'sweep.json', described)
  (folder / 'base.json').write_text(config_lib.to_json(config()))
  for each in runs:
    arm = each['arm'].partition('=')[2]
    settings = {'task.from_scratch': arm == 'true', 'seed': each['seed']}
    run(folder / 'runs' / each['name'], ACCURACY[arm][each['seed']], **settings)
  return folder
