"""The model card: what a run was, for whoever finds its weights."""

import pathlib
from typing import Any

from mlm_jax.huggingface import origin
from mlm_jax.training import logs
from mlm_jax.training import saved
from mlm_jax.training import workdir as workdir_lib

_SCORES = ('reference_loss', 'reference_accuracy', 'policy_loss', 'reference_rtd_accuracy')


def text(
  model: saved.SavedModel,
  tokenizer: Any,
  name: str,
  kind: str,
  sentences: bool,
  more: dict[str, str],
) -> str:
  """Returns the text of README.md.

  Args:
    model: the checkpoint that is exported.
    tokenizer: data.tokenizers.base.Tokenizer.
    name: of the class in `transformers`.
    kind: model_type in config.json.
    sentences: whether it loads in sentence-transformers.
    more: {fact: text} to add.
  """
  config, is_trained = model.config, not origin.is_in(model.workdir)
  # The first start says what the run was trained on, the last one which versions trained it.
  starts = workdir_lib.read_environment(model.workdir)
  facts = (
    {
      'step': f'{model.step:,} of {config.total_steps:,}'
      if is_trained
      else 'imported, not trained here',
      'started from': config.init_from,
      'data': f'{config.data.source} ({starts[0].get("data_fingerprint", "")[:12]})'
      if is_trained
      else '',
      'tokenizer': f'{tokenizer.size:,} pieces, sha256 {tokenizer.sha256[:12]}',
      'masking': _masking(config.masking) if is_trained else '',
      'objective': config.objective.name if is_trained else '',
      'rows': f'{config.batch_size} of {config.data.row_length} tokens a step'
      if is_trained
      else '',
      'versions': ', '.join(f'{name} {version}' for name, version in starts[-1]['versions'].items())
      if starts
      else '',
    }
    | _scores(model.workdir, model.step)
    | more
  )
  lines = [
    '---',
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
  lines += [f'| {name} | {_escaped(value)} |' for name, value in facts.items() if value]
  return '\n'.join(lines) + '\n'


def _masking(masking: Any) -> str:
  probs = ' / '.join(f'{share:g}' for share in masking.corruption_probs)
  rate = f'rate {masking.rate:g} ({masking.schedule})'
  return f'{masking.unit}, {masking.selection}, {rate}, corruption {probs}'


def _scores(workdir: pathlib.Path, step: int) -> dict[str, str]:
  """Returns {metric: value} of the evaluation at the step, as text."""
  # An imported run was never evaluated here.
  lines = logs.read_log(workdir, 'evaluations') if (workdir / 'evaluations.jsonl').exists() else []
  # The checkpoint may be older than the last evaluation.
  last = next((line for line in lines if line['step'] == step), {})
  return {
    f'held out: {name.replace("_", " ")}': f'{value:.4f}'
    for name, value in last.items()
    if name in _SCORES and value is not None
  }


def _escaped(value: object) -> str:
  return str(value).replace('|', '\\|').replace('\n', ' ')
