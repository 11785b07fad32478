"""Repositories of Hugging Face of random layouts."""

import gzip
import json
import pathlib

import pyarrow as pa
from pyarrow import parquet
import yaml

SPLITS = ('train', 'test', 'validation', 'dev', 'eval', 'valid', 'training', 'other')
FOLDERS = ('', '', 'data', 'en', 'train', 'test', 'default/train', 'default/dev', 'my-train', 'a/b')
FOLDERS += ('__pycache__', '.hidden', 'data/test', 'train-2', 'testing', 'contest', '__x__/train')
ENDINGS = ('.parquet', '.jsonl', '.json', '.txt', '.jsonl.gz', '.arrow') * 3 + ('.md', '.py')
FORMS = ('{0}', '{0}-00000-of-00001', '{0}_1', '0000', 'part-{0}', 'x{0}', '{0}.{0}', 'README')
FORMS += ('metadata', '.{0}', '{0}s', 'some {0} rows', '{0}1', '1{0}', 'config')
PATTERNS = (
  '**',
  '*',
  'data/*',
  '*.parquet',
  '**/*.jsonl',
  'data/**',
  '**/train*',
  'en/[a-t]*',
  '.*/*',
)
PATTERNS += ('train/0000.parquet', '__*/*', 'data/{}', './data/*')


def write(path, texts):
  """Writes rows as the ending of a path says."""
  path.parent.mkdir(parents=True, exist_ok=True)
  table = pa.table({'text': texts})
  lines = ''.join(json.dumps({'text': text}) + '\n' for text in texts)
  if path.suffix == '.parquet':
    parquet.write_table(table, path)
  elif path.suffix == '.arrow':
    with pa.OSFile(str(path), 'wb') as file, pa.ipc.new_stream(file, table.schema) as out:
      out.write_table(table)
  elif path.suffix == '.jsonl':
    path.write_text(lines)
  elif path.suffix == '.json':
    path.write_text(json.dumps([{'text': text} for text in texts]))
  elif path.suffix == '.gz':
    path.write_bytes(gzip.compress(lines.encode()))
  else:
    path.write_text('\n'.join(texts) + '\n')


def rows(path, n):
  """Returns the rows of a file."""
  return [f'{path} {i}' for i in range(n)]


def build(folder, layout):
  """Writes a repository."""
  folder.mkdir()
  for path, n in layout['files'].items():
    write(folder / path, rows(path, n))
  if layout['card']:
    (folder / 'README.md').write_text(layout['card'])


def draw_layout(draw):
  """Returns {files: {path: rows}, card: text of README.md or '', names: of its configs}."""
  endings = draw.sample(ENDINGS, draw.choice((1, 1, 1, 2)))
  folders = draw.sample(FOLDERS, draw.randint(1, 4))
  forms = draw.sample(FORMS, draw.randint(1, 3))
  paths = {
    pathlib.PurePosixPath(
      draw.choice(folders), draw.choice(forms).format(draw.choice(SPLITS)) + draw.choice(endings)
    )
    for _ in range(draw.randint(2, 8))
  }
  files = {str(path): draw.randint(1, 3) for path in sorted(paths) if path.name != 'README.md'}
  files = files or {'a.jsonl': 1}
  if draw.random() < 0.4:
    return {'files': files, 'card': '', 'names': []}
  names = draw.sample(('default', 'en', 'de', 'x y'), draw.choice((1, 1, 1, 2)))
  configs = [{'config_name': name, **said(draw, [*files])} for name in names]
  if draw.random() < 0.3:
    configs[-1]['default'] = True
  card = yaml.safe_dump({'configs': configs, 'license': 'mit'}, sort_keys=False)
  return {'files': files, 'card': f'---\n{card}---\n# A data set\n', 'names': names}


def said(draw, paths):
  """Returns what a card says of a config."""
  one = lambda: draw.choice(paths if draw.random() < 0.7 else PATTERNS)
  kind = draw.randrange(6)
  if kind == 0:
    return {'data_dir': draw.choice(paths).rpartition('/')[0] or '.'}
  if kind == 1:
    return {'data_files': one()}
  if kind == 2:
    return {'data_files': [one() for _ in range(draw.randint(1, 3))]}
  if kind == 3:
    return {}
  splits = draw.sample(('train', 'test', 'validation', 'other'), draw.randint(1, 3))
  return {
    'data_files': [
      {'split': split, 'path': one() if draw.random() < 0.5 else [one(), one()]} for split in splits
    ],
    **({'data_dir': draw.choice(FOLDERS[2:])} if draw.random() < 0.2 else {}),
  }
