"""Imports go down only; each library stays in its room."""

import ast
import pathlib

PACKAGE = pathlib.Path(__file__).parents[1] / 'mlm_jax'

# From the top down. Rooms of one layer do not import each other.
LAYERS = (
  ('cli',),
  ('sweeps', 'demo', 'benchmarks', 'planning'),
  ('tasks', 'inference', 'huggingface', 'report'),
  ('training', 'downstream'),
  ('objectives', 'evaluation'),
  ('masking', 'models', 'data'),
  ('core', 'config'),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Where each library may be imported, as prefixes of the path inside mlm_jax.
ROOMS = {
  'flax': ('models/',),
  'grain': ('data/loader.py',),
  'orbax': ('training/checkpoint.py',),
  'ml_collections': ('config/',),
  'sentencepiece': ('data/tokenizers/',),
  'rensa': ('data/corpus/',),
  'matplotlib': ('report/',),
  'tensorboardX': ('training/trackers/tensorboard.py',),
  'wandb': ('training/trackers/wandb.py',),
  'trackio': ('training/trackers/trackio.py',),
  'rich': ('training/progress.py', 'inference/mask_lines.py', 'sweeps/', 'cli/_settings.py'),
  'argcomplete': ('cli/_completion.py',),
  'optax': ('training/', 'objectives/'),
  'pyarrow': (
    'data/corpus/',
    'data/examples/',
    'inference/predict_file.py',
    'inference/embed_file.py',
  ),
  'sklearn': ('evaluation/',),
  'nervaluate': ('evaluation/',),
  'pytrec_eval': ('evaluation/rankings.py',),
  'bm25s': ('evaluation/rankings.py',),
  'tensorflow_datasets': ('data/corpus/',),
  'ray': ('sweeps/',),
  'safetensors': ('huggingface/',),
  'huggingface_hub': ('data/corpus/formats/hub.py', 'huggingface/'),
  'tokenizers': ('benchmarks/', 'data/tokenizers/', 'data/corpus/normal_forms.py', 'huggingface/'),
  'torch': ('benchmarks/',),
  'transformers': ('benchmarks/',),
  'keras': ('benchmarks/',),
  'keras_hub': ('benchmarks/',),
}


def imports():
  """Yields (file, its room, imported module's dotted name)."""
  for path in sorted(PACKAGE.rglob('*.py')):
    relative = path.relative_to(PACKAGE)
    room = relative.parts[0].removesuffix('.py')
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import):
        for each in node.names:
          yield relative, room, each.name
      elif isinstance(node, ast.ImportFrom):
        for each in node.names:
          yield relative, room, f'{node.module}.{each.name}'


def test_imports_go_down_only():
  wrong = []
  for path, room, name in imports():
    if not name.startswith('mlm_jax.') or room in ('__main__', '__init__'):
      continue
    other = name.split('.')[1]
    if other != room and LEVEL[room] >= LEVEL.get(other, len(LAYERS)):
      wrong.append(f'{path} imports {name}')
  assert not wrong


def test_each_library_stays_in_its_room():
  wrong = [
    f'{path} imports {name}'
    for path, _, name in imports()
    for library, rooms in ROOMS.items()
    if name.split('.')[0] == library and not str(path).startswith(rooms)
  ]
  assert not wrong


def test_the_package_imports_no_configs_experiments_or_notebooks():
  assert not [
    f'{path} imports {name}'
    for path, _, name in imports()
    if name.split('.')[0] in ('configs', 'experiments', 'notebooks', 'tests')
  ]
