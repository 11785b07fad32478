"""Nine tasks: does pretraining help? Small models of novels, the same one untrained, and MiniLM.

  python experiments/transfer/data.py --source=DOWNLOADED --out=runs/tasks
  mlm-jax train --config=novels_small --config.data.source='text:novels/*.txt' --workdir=runs/novels
  mlm-jax train --config=novels_small --config.data.source='text:novels/*.txt' \
    --config.masking.corruption_probs='(0.8,0.1,0.1)' --workdir=runs/novels_801010
  mlm-jax import --from=MINILM --workdir=runs/minilm
  mlm-jax sweep experiments/transfer --workdir=runs/transfer

Of each task a sweep of its own, by the task's first metric on its test examples.
"""

from typing import Any

from mlm_jax import config
from mlm_jax import sweeps

DATA, NOVELS, MINILM = 'runs/tasks', 'runs/novels', 'runs/minilm'
# As NOVELS, but of what is hidden a tenth is seen as it is, and a tenth as another token: else no
# loss asks what the last layer makes of tokens that are seen, and fine-tuning reads just that.
SEEN = 'runs/novels_801010'
SEEDS = 3
BASELINE = 'init_from=runs-novels_from_scratch=true'
# The name of a recipe, and what differs from it. Where the text of an example is long, rows are
# few: more passes over them are as many steps.
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
  'sst2': ('classification', {}),
  'ag_news': ('classification', {}),
  'banking77': ('classification', {'epochs': 20.0}),
  'rte': ('classification', {'task.second_text': 'second_text'}),
  'wnut17': ('token_labelling', {'epochs': 20.0}),
  'crossner_ai': ('token_labelling', {'epochs': 40.0}),
  'stsb': ('similarity', {'epochs': 20.0}),
  'cranfield': ('retrieval', {}),
  'squadshifts': (
    'question_answering',
    {
      'epochs': 3.0,
      'data.max_segments': 4,
      'task.question_answering.stride': 32,
      'task.question_answering.max_question_pieces': 40,
    },
  ),
}
FILES = {'token_labelling': '.conll', 'question_answering': '.json'}


def get_sweep() -> dict[str, sweeps.Sweep]:
  return {name: _of(name, *each) for name, each in TASKS.items()}


def _of(name: str, recipe: str, settings: dict[str, Any]) -> sweeps.Sweep:
  """Returns the sweep of a task."""
  path = lambda part: f'{DATA}/{name}_{part}{FILES.get(recipe, ".jsonl")}'
  files = {'task.train': path('train'), 'task.test': path('test')}
  if recipe == 'retrieval':  # queries of one collection, parted
    files = dict.fromkeys(files, f'{DATA}/{name}')
  own = {'epochs': 10.0, 'batch_size': 8, 'data.row_length': 128, 'evaluation.patience': 3}
  if recipe in ('classification', 'similarity'):
    # The heads of NOVELS were set on neighbours, so [CLS] has hardly seen the text.
    own |= {'task.pooling': 'mean'}
  if recipe == 'retrieval':
    own |= {'batch_size': 32}
  base = config.overlay(config.load(f'finetune/{recipe}'), own | files | settings)
  # Chosen by the validation examples of sst2: the small models, untrained or not, by 5e-4 and 2e-3.
  arms = sweeps.chain(
    [
      {'init_from': run, 'task.from_scratch': scratch, 'optim.learning_rate': 2e-3}
      for run, scratch in ((NOVELS, True), (NOVELS, False), (SEEN, False))
    ],
    [{'init_from': MINILM, 'task.from_scratch': False, 'optim.learning_rate': 1e-4}],
  )
  return sweeps.Sweep(
    question=f'Does pretraining help on {name}?',
    base=base,
    runs=sweeps.product(arms, sweeps.seeds(SEEDS)),
  )
