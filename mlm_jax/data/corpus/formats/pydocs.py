"""The built-in corpus: English prose about Python, from what is installed here.

The docstrings and help topics of the standard library and of the packages that
mlm_jax depends on, read with `ast`; nothing is imported, nothing downloaded. The
corpus differs a little between machines, as their packages do; on one machine it is
the same every time.

A document is what one would read together: a module's introduction, a function's
docstring, or a class's with those of its methods. Doctests, rulers and tables are
left out, so that what remains reads as prose. No docstring is in it twice, and
no package makes up more than a quarter of its characters.
"""

import ast
import gc
import hashlib
import importlib.util
import inspect
import pathlib
import re
import sysconfig

# What setup.cfg requires, and what those packages require themselves.
PACKAGES = (
  'PIL',
  'absl',
  'aiofiles',
  'array_record',
  'attr',
  'cloudpickle',
  'contourpy',
  'cycler',
  'dateutil',
  'docstring_parser',
  'einops',
  'etils',
  'flax',
  'fontTools',
  'fsspec',
  'google.protobuf',
  'grain',
  'humanize',
  'importlib_resources',
  'jax',
  'jaxlib',
  'kiwisolver',
  'markdown_it',
  'matplotlib',
  'mdurl',
  'ml_collections',
  'ml_dtypes',
  'mpl_toolkits',
  'msgpack',
  'numpy',
  'opt_einsum',
  'optax',
  'orbax',
  'packaging',
  'pip',
  'pkg_resources',
  'psutil',
  'pygments',
  'pyparsing',
  'rich',
  'scipy',
  'sentencepiece',
  'setuptools',
  'simplejson',
  'six',
  'tensorboardX',
  'tensorstore',
  'tqdm',
  'treescope',
  'typing_extensions',
  'uvloop',
  'yaml',
  'zipp',
  'zstandard',
)
_LEFT_OUT = ('test', 'tests', 'testing', 'site-packages', 'dist-packages', 'idlelib', '_vendor')
_SHARE = 4  # no package makes up more than one part in this many
_MIN_CHARACTERS = 80  # of a document: shorter ones are labels, not prose
_RULER = re.compile(r'\s*[^\w\s]\W*')
_TABLE = re.compile(r'.*(\S {3,}\S.* {3,}\S|\|.*\|)')


def read() -> tuple[list[str], list[str]]:
  """Returns ([document], [package that is not installed]), in a fixed order."""
  packages: dict[str, tuple[pathlib.Path, ...]] = {
    'stdlib': (pathlib.Path(sysconfig.get_path('stdlib')),)
  }
  absent = []
  for name in PACKAGES:
    folders = _folders(name)
    if folders:
      packages[name] = folders
    else:
      absent.append(name)
  # One for all packages: many copy docstrings from each other, or bring others with them.
  seen = set()
  documents = {
    name: [text for folder in folders for text in _package(folder, seen)]
    for name, folders in packages.items()
  }
  return [text for texts in _balance(list(documents.values())) for text in texts], absent


def _folders(name):
  """Returns the folders of a package, which is found without being imported."""
  top, *rest = name.split('.')
  try:
    # Of the top only: to find a subpackage, Python would import what is above it.
    spec = importlib.util.find_spec(top)
  except (ImportError, ValueError):
    spec = None
  if spec is None:
    return ()
  if not spec.submodule_search_locations:  # one file; compiled or built in, it has no source
    is_source = spec.origin is not None and spec.origin.endswith('.py')
    return (pathlib.Path(str(spec.origin)),) if is_source else ()
  folders = (pathlib.Path(each, *rest) for each in sorted(set(spec.submodule_search_locations)))
  return tuple(each for each in folders if each.is_dir())


def _package(folder, seen):
  """Yields the documents of a folder of Python files, or of one file."""
  paths = [folder] if folder.is_file() else sorted(folder.rglob('*.py'))
  for path in paths:
    parts = path.relative_to(folder).parts
    # Tests say little in prose; packages inside others are read as themselves, or are copies.
    if any(part in _LEFT_OUT or part.startswith('test_') for part in parts):
      continue
    if path.parts[-2:] == ('pydoc_data', 'topics.py'):
      yield from _unseen(_topics(path), seen)
    else:
      yield from _unseen(_module(path), seen)


def _unseen(documents, seen):
  """Yields documents of docstrings joined, without those that occurred before."""
  for docstrings in documents:
    new = []
    for docstring in docstrings:
      text = prose(docstring)
      # Copies may differ in their line breaks.
      mark = _digest(' '.join(text.split()))
      if text and mark not in seen:
        seen.add(mark)
        new.append(text)
    text = '\n\n'.join(new)
    if len(text) >= _MIN_CHARACTERS:
      yield text


def _parse(path):
  """Returns the syntax tree of a file, or None where it has none."""
  source = path.read_bytes()
  # Parsing is what takes the time; nearly every docstring has three quotes.
  if b'"""' not in source and b"'''" not in source:
    return None
  collecting = gc.isenabled()
  gc.disable()  # a tree is large, without cycles, and soon gone: collecting costs a third more
  try:
    return ast.parse(source)
  except (SyntaxError, ValueError, RecursionError):
    return None
  finally:
    if collecting:
      gc.enable()


def _topics(path):
  """Yields the help topics of the language, the strings of one dict."""
  for node in ast.walk(ast.parse(path.read_bytes())):
    if isinstance(node, ast.Dict):
      for value in node.values:
        yield [ast.literal_eval(value)]


def _module(path):
  """Yields the docstrings of each document in a file: [module], [function], [class, ...]."""
  tree = _parse(path)
  if tree is None:
    return
  yield [_docstring(tree)]
  for node in _definitions(tree):
    yield list(_inside(node))


def _inside(node):
  """Yields the docstring of a definition and of those in a class, in their order."""
  yield _docstring(node)
  if isinstance(node, ast.ClassDef):
    for inner in _definitions(node):
      yield from _inside(inner)


def _definitions(node):
  """Yields the classes and functions of a body, also those under an `if` or `try`."""
  for each in node.body:
    if isinstance(each, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
      yield each
    elif isinstance(each, (ast.If, ast.Try)):
      yield from _definitions(each)


def _docstring(node):
  first = node.body[0] if node.body else None
  value = getattr(first, 'value', None) if isinstance(first, ast.Expr) else None
  return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ''


def prose(docstring: str) -> str:
  """Returns a docstring's prose: no doctests with their output, rulers or tables."""
  kept, in_doctest = [], False
  for line in inspect.cleandoc(docstring).split('\n'):
    if line.lstrip().startswith('>>>'):
      in_doctest = True
    elif not line.strip():  # a blank line ends the output of a doctest
      in_doctest = False
    if not in_doctest and not _RULER.fullmatch(line) and not _TABLE.match(line):
      kept.append(line)
  return '\n'.join(kept).strip()


def _balance(packages):
  """Returns the packages' documents with the largest cut to the share allowed.

  What is cut is chosen by hash, all over the package.
  """
  sizes = [sum(map(len, documents)) for documents in packages]
  limit = max(sizes)
  enough = len(sizes) - sizes.count(0) > _SHARE  # fewer cannot each keep to the share
  # The largest are cut to one limit, which is a share of the sum that depends on the limit: it is
  # rest / (_SHARE - over). A lower limit may reach further packages, hence the loop.
  while enough and sum(min(size, limit) for size in sizes) < _SHARE * limit:
    over = sum(size >= limit for size in sizes)
    rest = sum(size for size in sizes if size < limit)
    limit = rest // (_SHARE - over) if over < _SHARE else limit
  return [
    _cut(documents, limit) if size > limit else documents
    for documents, size in zip(packages, sizes)
  ]


def _digest(text):
  return hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=16).digest()


def _cut(documents, characters):
  by_hash = sorted(range(len(documents)), key=lambda i: _digest(documents[i]))
  kept = []
  for i in by_hash:
    characters -= len(documents[i])
    if characters < 0:  # not the next shorter one instead: that would favour short documents
      break
    kept.append(i)
  return [documents[i] for i in sorted(kept)]
