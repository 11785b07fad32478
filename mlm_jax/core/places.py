"""What names files and folders, for the eyes of others: without the folders of this machine."""

import re

# From a slash that begins a path, not one inside a name or an address, to its last one.
_FOLDERS = r'(?<![\w/.~-])~?/(?![/\s])(?:[^,;{0}]*/(?=[^/,;{0}]))?'
_IN_LIST = re.compile(_FOLDERS.format(''))  # folders may have spaces
_IN_PROSE = re.compile(_FOLDERS.format(r'\s:\'"'))


def without_folders(places: object) -> str:
  """Returns places, such as those of a config, with the last parts of absolute paths alone."""
  return _IN_LIST.sub('', str(places).rstrip('/'))


def prose_without_folders(sentence: object) -> str:
  """Returns a sentence, such as an error, with the last parts of absolute paths alone."""
  return _IN_PROSE.sub('', str(sentence))
