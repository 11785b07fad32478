"""The model card: what a run was, for whoever finds its weights."""

from mlm_jax.huggingface import origin
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib

_SCORES = ('reference_loss', 'reference_accuracy', 'policy_loss', 'reference_rtd_accuracy')


def write(workdir, opened, name, kind, sentences, more):
  """Returns the text of README.md.

  Args:
    workdir: of the run.
    opened: run.Run.
    name: of the class there.
    kind: model_type in config.json.
    sentences: whether it loads in sentence-transformers.
    more: {fact: text} to add.
  """
  config, is_trained = opened.config, not origin.is_in(workdir)
  starts = workdir_lib.read_environment(workdir)
  facts = (
    {
      'step': f'{opened.step:,} of {config.total_steps:,}'
      if is_trained
      else 'imported, not trained here',
      'started from': config.init_from,
      'data': f'{config.data.source} ({starts[0].get("data_fingerprint", "")[:12]})'
      if is_trained
      else '',
      'tokenizer': f'{opened.tokenizer.size:,} pieces, sha256 {opened.tokenizer.sha256[:12]}',
      'masking': _masking(config.masking) if is_trained else '',
      'objective': config.objective.name if is_trained else '',
      'rows': f'{config.batch_size} of {config.data.row_length} tokens a step'
      if is_trained
      else '',
      'versions': ', '.join(f'{name} {version}' for name, version in starts[-1]['versions'].items())
      if starts
      else '',
    }
    | _scores(workdir, opened.step)
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


def _masking(masking):
  split = ' / '.join(f'{share:g}' for share in masking.corruption_probs)
  rate = f'rate {masking.rate:g} ({masking.schedule})'
  return f'{masking.unit}, {masking.selection}, {rate}, split {split}'


def _scores(workdir, step):
  """Returns what the evaluation of the step said, as text."""
  lines = logs.read_log(workdir, 'evaluations') if (workdir / 'evaluations.jsonl').exists() else []
  last = next((line for line in lines if line['step'] == step), {})
  return {
    f'held out: {name.replace("_", " ")}': f'{value:.4f}'
    for name, value in last.items()
    if name in _SCORES and value is not None
  }


def _escaped(text):
  return str(text).replace('|', '\\|').replace('\n', ' ')
