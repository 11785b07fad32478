"""The model card: what a run was, for whoever finds its weights."""

import json
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.core import places
from mlm_jax.huggingface import origin
from mlm_jax.training import logs
from mlm_jax.training import saved
from mlm_jax.training import workdir as workdir_lib

# {metric: what it is called, with its unit}.
_METRICS = {
  'loss': 'masked loss (nats per token)',
  'accuracy': 'accuracy',
  'rtd_accuracy': 'accuracy of replaced-token detection',
}
_REFERENCE = 'reference: uniform, 15 % of the tokens, all by [MASK]'
_TEST = 'test.json'  # see tasks/finetuning.py
_HEADER = ('| score | value | text | masks |', '|---|---|---|---|')


def text(
  model: saved.SavedModel,
  tokenizer: Any,
  name: str,
  kind: str,
  sentences: bool,
  more: dict[str, str],
  licence: str = '',
) -> str:
  """Returns the text of README.md.

  Args:
    model: the checkpoint that is exported.
    tokenizer: data.tokenizers.base.Tokenizer.
    name: of the class in `transformers`.
    kind: model_type in config.json.
    sentences: whether it loads in sentence-transformers.
    more: {fact: text} to add.
    licence: of the weights; '' for that of the card that was imported, if any.
  """
  config, is_trained = model.config, not origin.is_in(model.workdir)
  is_task = 'task' in config
  data = places.without_folders(config.task.train if is_task else config.data.source)
  # Never guessed: the licence of this program is not that of the weights.
  licence = licence or origin.licence(model.workdir)
  # The first start says what the run was trained on, the last one which versions trained it.
  starts = workdir_lib.read_environment(model.workdir)
  fingerprint = starts[0].get('data_fingerprint', '') if starts else 'unknown'
  versions = starts[-1].get('versions', {}) if starts else {}
  facts = (
    {
      'step': f'{model.step:,} of {config.total_steps:,}'
      if is_trained
      else 'imported, not trained here',
      'started from': places.without_folders(config.init_from),
      'data': f'{data} ({fingerprint[:12]})' if is_trained else '',
      'tokenizer': f'{tokenizer.size:,} pieces, sha256 {tokenizer.sha256[:12]}',
      'task': config.task.name if is_task else '',
      'masking': _masking(config.masking) if is_trained and not is_task else '',
      'objective': config.objective.name if is_trained and not is_task else '',
      'rows': f'{config.batch_size} of {config.data.row_length} tokens a step'
      if is_trained
      else '',
      'versions': ', '.join(f'{name} {version}' for name, version in versions.items()),
    }
    | more
    | {'licence': licence or 'not stated'}
  )
  lines = [
    '---',
    *([f'license: {licence}'] if licence else []),
    'library_name: ' + ('sentence-transformers' if sentences else 'transformers'),
    'tags:',
    f'- {kind}',
    '- mlm_jax',
    '---',
    '',
    f'# {name}',
    '',
    'Made by mlm_jax.',
    '',
    '| | |',
    '|---|---|',
  ]
  lines += [_row(name, value) for name, value in facts.items() if value]
  lines += _task_scores(model) if is_task else _scores(model)
  return '\n'.join(lines) + '\n'


def _masking(masking: Any) -> str:
  probs = ' / '.join(f'{share:g}' for share in masking.corruption_probs)
  rate = f'rate {masking.rate:g} ({masking.schedule})'
  return f'{masking.unit}, {masking.selection}, {rate}, corruption {probs}'


def _scores(model: saved.SavedModel) -> list[str]:
  """Returns the section of the scores at the step, with the text and the masks that they are of."""
  # An imported run was never evaluated here.
  path = model.workdir / 'evaluations.jsonl'
  lines = logs.read_log(model.workdir, 'evaluations') if path.exists() else []
  # The checkpoint may be older than the last evaluation.
  last = next((line for line in lines if line['step'] == model.step), {})
  config = config_lib.final_stage(model.config)
  rows = f'about {config.evaluation.rows:,}' if config.evaluation.rows else 'all'
  masks = {'reference': _REFERENCE, 'policy': f'the run’s own: {_masking(config.masking)}'}
  table = []
  for name, value in last.items():
    # Such as reference_loss_on_SOURCE.
    score, _, source = name.partition('_on_')
    under, _, metric = score.partition('_')
    if under in masks and metric in _METRICS and type(value) in (int, float):
      text = places.without_folders(source) or 'all'
      table.append(_row(_METRICS[metric], f'{value:.4f}', text, masks[under]))
  data = places.without_folders(config.data.source)
  of = (
    f'At step {model.step:,}, of {rows} held-out rows of {config.data.row_length} tokens of {data}.'
  )
  return ['', '## Scores', '', _escaped(of), '', *_HEADER, *table] if table else []


def _task_scores(model: saved.SavedModel) -> list[str]:
  """Returns the section of what a fine-tuned model has scored in the end, if it is at that step."""
  path = model.workdir / _TEST
  try:
    report = json.loads(path.read_bytes()) if path.exists() else {'step': None}
    if report['step'] != model.step:
      return []
    scores = {name: f'{value:.4f}' for name, value in report['scores'].items()}
  except (ValueError, KeyError, TypeError, AttributeError):
    raise config_lib.UserError(f'{path} is damaged; remove it') from None
  file = model.config.task[report['split']] or f'a share of {model.config.task.train}'
  of = f'Of {report["examples"]:,} {report["split"]} examples: {places.without_folders(file)}.'
  table = [_row(*each) for each in scores.items()]
  return ['', '## Scores', '', _escaped(of), '', '| score | value |', '|---|---|', *table]


def _row(*cells: str) -> str:
  return f'| {" | ".join(map(_escaped, cells))} |'


def _escaped(value: object) -> str:
  return str(value).replace('|', '\\|').replace('\n', ' ')
