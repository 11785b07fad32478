"""Settings as text: grouped, with what they mean and what differs from the defaults."""

from collections.abc import Iterator

from rich import console as console_lib
from rich import padding
from rich import text as text_lib

from mlm_jax import config as config_lib
from mlm_jax.config import meanings
from mlm_jax.config import shipped

_INDENT = 4


def show_recipes() -> None:
  """Prints the name and the summary of each recipe that comes with the package."""
  names = shipped.names()
  width = max(map(len, names))
  for name in names:
    _print(f'{name:{width}}  ', (shipped.summary(name), 'dim'))
  _print()
  _print('Each also as NAME:smoke, small enough for a CPU. Their files: ', str(shipped.folder()))


def show(key: str | None, config: config_lib.Config) -> None:
  """Prints the settings of a config that a key names, with their meanings.

  Args:
    key: of a setting or of a group; None for all.
    config: where their values are from.

  Raises:
    UserError: there is no such key.
  """
  flat, unchanged = config_lib.flatten(config), config_lib.flatten(config_lib.default_of(config))
  known = meanings.meanings(config_lib.kind_of(config))
  if key is not None and key not in known:
    if key in shipped.names():
      raise config_lib.UserError(f'{key} is a recipe: show it with --config={key}')
    raise config_lib.UserError(config_lib.unknown_key(key, known))
  for each in known:
    if key in (None, each) or each.startswith(f'{key}.'):
      if each not in flat:
        _show_group(each, known[each])
        continue
      _print(*_setting(each, flat[each], unchanged[each]))
      _explain(known[each])
      # Of one alone all that is known; of many it would hide what they mean.
      if key == each:
        for line in _limits(each, flat[each]):
          _explain(line)


def show_config(config: config_lib.Config) -> None:
  """Prints every setting of a config; a star marks those that differ from the defaults."""
  flat, unchanged = config_lib.flatten(config), config_lib.flatten(config_lib.default_of(config))
  for key in meanings.meanings(config_lib.kind_of(config)):
    if key in flat:
      _print(*_setting(key, flat[key], unchanged[key], mark='* ', no_mark='  '))
    else:
      _print()
  changed = sum(value != unchanged[key] for key, value in flat.items())
  _print()
  _print(f'* {changed} settings differ from the defaults')
  if config_lib.is_open(config):
    _print("'' of model.family or data.tokenizer stands for that of the run in config.init_from")


def _show_group(key: str, meaning: str) -> None:
  _print()
  _print((key, 'bold underline'))
  _explain(meaning)
  _print()


def _setting(
  key: str, value: object, default: object, mark: str = '', no_mark: str = ''
) -> Iterator[str | tuple[str, str]]:
  """Yields the parts of the line of one setting."""
  differs = value != default
  yield mark if differs else no_mark
  yield key, 'bold yellow' if differs else 'bold'
  yield f' = {value!r}'
  if differs:
    yield f'   (default {default!r})', 'dim'


def _limits(key: str, value: object) -> Iterator[str]:
  """Yields what a setting may be and when it is read."""
  allowed, readers = meanings.allowed(key), meanings.readers(key)
  yield meanings.kind(value) + (f': {allowed}' if allowed else '')
  if readers:
    yield f'read only where {" and ".join(readers)}'


def _explain(text: str) -> None:
  _print((text, 'dim'), indent=_INDENT)


def _print(*parts: str | tuple[str, str], indent: int = 0) -> None:
  """Prints texts and (text, style)s as one line: wrapped and coloured on a terminal alone."""
  console = console_lib.Console(highlight=False)
  line = text_lib.Text.assemble(*parts)
  if console.is_terminal:
    console.print(padding.Padding(line, (0, 0, 0, indent)) if indent else line)
  else:
    print(' ' * indent + line.plain)
