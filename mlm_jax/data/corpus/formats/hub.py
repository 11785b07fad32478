"""Files of data sets on the Hugging Face hub, fetched one by one into the library's own cache.

A file is named hf://datasets/NAME@COMMIT/PATH, as `datasets` names it. The commit is in the name:
what such a name holds never changes. The library is imported when something is fetched.
"""

import re

from mlm_jax import config

_FILE = re.compile(r'hf://datasets/([^@]+)@([^/]+)/(.+)')
_NAME = re.compile(r'[A-Za-z0-9][\w.-]*(/[\w.-]+)?')


def is_name(text: str) -> bool:
  """Whether a text may be the name of a data set on the hub: NAME or OWNER/NAME."""
  return bool(_NAME.fullmatch(text))


def is_file(path: str) -> bool:
  """Whether it is the name of a file on the hub."""
  return path.startswith('hf://')


def fetched(path: str) -> str:
  """Returns where a file lies, or for one on the hub, where it was fetched to.

  Raises:
    UserError: it cannot be fetched.
  """
  if not is_file(path):
    return path
  import huggingface_hub

  name = _FILE.fullmatch(path)
  if not name:  # such as one inside of an archive
    raise config.UserError(f'{path} cannot be fetched; clone the data set and name the folder')
  try:
    return huggingface_hub.hf_hub_download(
      name[1], name[3], repo_type='dataset', revision=name[2], library_name='mlm_jax'
    )
  except Exception as error:  # of the network, the hub, or the disk
    raise config.UserError(f'{path} cannot be fetched: {config.one_line(error)}') from None


def why(error: Exception, name: str) -> str:
  """Returns in a few words why `datasets` found no data set of this name on the hub, or ''."""
  kind = type(error).__name__
  if isinstance(error, ConnectionError) or 'Offline' in kind or 'Timeout' in kind:
    return 'the hub cannot be reached to look for one there; fetch it where there is a network'
  if kind == 'DatasetNotFoundError':
    said = config.one_line(error)
    # Of one that needs an account the library says more.
    return said if 'gated' in said or 'Revision' in said else f'the hub has no data set {name}'
  return ''
