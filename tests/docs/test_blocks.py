"""Every command and every Python block of the guides runs, on tiny data, in order.

Each guide has a folder of its own, in which the recipes are shrunk to a few steps, also where they
are named, MY and GENERAL hold texts and runs/mine is a finished run. A Python block that begins
with `# FILE.py` is saved as that file.
"""

import json
import pathlib
import shlex
import shutil
import sys

import pytest

import mlm_jax
from mlm_jax import __main__ as program
from mlm_jax import config as config_lib
from mlm_jax.config import shipped
from tests import toys
from tests.docs import blocks

# Commands that cannot run here, by how they begin, and why.
NOT_RUN = {
  'make ': 'makes environments, or runs this very suite',
  'srun ': 'needs SLURM',
  'mlm-jax import --from=answerdotai/': 'needs the network',
  'mlm-jax plan ': 'needs a compiler for devices that are not here',
}
# What runs in place of a flag: the processes of --jobs and --seeds have their own tests.
INSTEAD = {'--jobs=2': '--population', '--seeds=3': '--seeds=1'}
# Blocks of Python that need a library that `make test` does without; `make parity` has it.
NEEDS = {'import torch': 'torch'}
SMALL = {
  'total_steps': 4,
  'batch_size': 4,
  'stages': (),
  'data.source': 'text:MY/*.txt',
  'data.document': 'lines',
  'data.vocab_size': 320,
  'data.row_length': 32,
  'data.validation_fraction': 0.1,
  'model.layers': 1,
  'model.width': 32,
  'model.heads': 2,
  'model.feed_forward': 64,
  'model.max_positions': 32,
  'optim.warmup_steps': 1,
  'evaluation.every': 2,
  'evaluation.rows': 8,
  'evaluation.batch_size': 4,
  'checkpoint.every': 2,
  'log.every': 2,
  'log.trackers': '',
  'mesh.devices': 1,
}
# What only some recipes can set.
OF_RECIPES = {
  'question_answering': {
    'task.question_answering.stride': 4,
    'task.question_answering.max_question_pieces': 16,
  },
  'retrieval': {
    'task.retrieval.max_query_tokens': 12,
    'task.retrieval.max_document_tokens': 20,
  },
}
RECIPE = """from mlm_jax import config


def get_config(variant=None):
  c = config.load({path!r} + (f':{{variant}}' if variant else ''))
  return config.overlay(c, {small!r})
"""


def furnish(folder):
  """Puts into a folder what a reader has: recipes (small ones), experiments and texts."""
  for name in ('MY', 'GENERAL', 'configs', 'experiments'):
    (folder / name).mkdir()
  toys.write_corpus(folder / 'MY' / 'text.txt')
  toys.write_corpus(folder / 'GENERAL' / 'text.txt', seed=1)
  for name in ('labelled', 'labelled_test'):
    lines = ''.join(f'text {n} of ours,{n % 2}\n' for n in range(40))
    (folder / 'MY' / f'{name}.csv').write_text('text,label\n' + lines)
  for name in ('pairs', 'pairs_test'):
    lines = ''.join(f'text {n} of ours,text {n % 3} of ours,{n % 5}\n' for n in range(40))
    (folder / 'MY' / f'{name}.csv').write_text('text,second_text,score\n' + lines)
  _write_collection(folder / 'MY')
  pair = {'sentence_good': 'a cab', 'sentence_bad': 'a bad'}
  (folder / 'MY' / 'pairs.jsonl').write_text(json.dumps(pair))
  choice = {'sentence': 'a _ b', 'option1': 'cab', 'option2': 'bad', 'answer': '1'}
  (folder / 'MY' / 'choices.jsonl').write_text(json.dumps(choice))
  for name in ('train', 'test'):
    (folder / 'MY' / f'{name}.conll').write_text('Ada B-person\nwrote O\nit O\n\n' * 40)
  line = '{}\t{}\t_\t{}\t_\t_\t_\t_\t_\t_\n'.format
  treebank = line(1, 'Ada', 'PROPN') + line(2, 'wrote', 'VERB') + '\n'
  (folder / 'MY' / 'train.conllu').write_text(treebank * 40)
  for name in ('questions', 'questions_test'):
    paragraphs = [{'context': f'text {n} of ours', 'qas': [_question(n)]} for n in range(10, 50)]
    content = json.dumps({'data': [{'paragraphs': paragraphs}]})
    (folder / 'MY' / f'{name}.json').write_text(content)
  for path in (blocks.ROOT / 'configs').rglob('*.py'):
    config = config_lib.load(path)
    # What is open is as large as the run that it comes from.
    is_open, known = config_lib.is_open(config), config_lib.flatten(config)
    small = {
      key: value
      for key, value in SMALL.items()
      if key in known and (not is_open or _is_of_training(key))
    } | OF_RECIPES.get(path.stem, {})
    place = folder / 'configs' / path.relative_to(blocks.ROOT / 'configs')
    place.parent.mkdir(exist_ok=True)
    place.write_text(RECIPE.format(path=str(path), small=small))
  return folder


def _write_collection(folder):
  """Writes a file of pairs and a folder of BEIR."""
  lines = lambda records: ''.join(json.dumps(each) + '\n' for each in records)
  pairs = [{'query': f'is it {n}?', 'positive': f'text {n} of ours'} for n in range(20)]
  (folder / 'asked.jsonl').write_text(lines(pairs))
  (folder / 'collection' / 'qrels').mkdir(parents=True)
  for name, column in (('queries', 'query'), ('corpus', 'positive')):
    records = [{'_id': n, 'text': each[column]} for n, each in enumerate(pairs)]
    (folder / 'collection' / f'{name}.jsonl').write_text(lines(records))
  judged = ''.join(f'{n}\t{n}\t1\n' for n in range(8))
  (folder / 'collection' / 'qrels' / 'test.tsv').write_text('query-id\tcorpus-id\tscore\n' + judged)


def _question(number):
  """Returns a question about 'text NUMBER of ours', of two digits."""
  answers = [{'text': 'of ours', 'answer_start': 8}]
  return {'id': str(number), 'question': 'whose is it?', 'answers': answers}


@pytest.fixture(scope='module')
def furnished(tmp_path_factory):
  """A folder with all that and a finished run."""
  folder = furnish(tmp_path_factory.mktemp('guides'))
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    patch.setattr(shipped, 'folder', lambda: folder / 'configs')
    assert mlm_jax.train(config_lib.load('novels_small'), 'runs/mine', lambda line: None)
  return folder


def run_command(line):
  """Runs a line of a shell block, unless it cannot run here."""
  if any(line.startswith(start) for start in NOT_RUN):
    return
  words = [INSTEAD.get(word, word) for word in shlex.split(line)]
  assert words[0] == 'mlm-jax', f'neither run nor named in NOT_RUN: {line}'
  program.main(words[1:])


def _is_of_training(key):
  return not key.startswith(('model.', 'data.source', 'data.vocab_size'))


def run_python(block, names):
  """Executes a Python block among the names that those before it have made."""
  for statement, library in NEEDS.items():
    if statement in block.text and not _is_installed(library):
      return
  first = block.text.splitlines()[0]
  if first.startswith('# ') and first.endswith('.py'):
    path = pathlib.Path(first.removeprefix('# '))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text)
  exec(compile(block.text, block.where, 'exec'), names)  # the guides are ours


def _is_installed(library):
  try:
    __import__(library)
  except ImportError:
    return False
  return True


@pytest.mark.slow
@pytest.mark.parametrize('guide', blocks.GUIDES, ids=lambda guide: guide.stem)
def test_everything_in_a_guide_runs(guide, furnished, tmp_path, monkeypatch):
  folder = tmp_path / 'guide'
  shutil.copytree(furnished, folder)
  if guide.name == 'README.md':
    shutil.rmtree(folder / 'runs')  # it trains this run itself
  monkeypatch.chdir(folder)
  monkeypatch.setattr(sys, 'path', [*sys.path, str(folder)])
  monkeypatch.setattr(shipped, 'folder', lambda: folder / 'configs')
  names = {}
  for block in blocks.of(guide):
    print(block.where)  # shown where it fails
    if block.language == 'sh':
      for line in block.commands:
        run_command(line)
    elif block.language == 'python':
      run_python(block, names)


def test_every_block_says_what_it_is():
  found = [block for guide in blocks.PAGES for block in blocks.of(guide)]
  assert {block.language for block in found} <= {'sh', 'python', 'text'}


def test_everything_that_is_not_run_is_in_a_guide():
  lines = [
    line
    for guide in blocks.GUIDES
    for block in blocks.of(guide)
    if block.language == 'sh'
    for line in block.commands
  ]
  for start in NOT_RUN:
    assert any(line.startswith(start) for line in lines), start
  for flag in INSTEAD:
    assert any(flag in line.split() for line in lines), flag


def test_an_unknown_command_is_not_passed_over():
  with pytest.raises(AssertionError, match='neither run nor named'):
    run_command('mlm-jux train')
