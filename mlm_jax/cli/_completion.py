"""Completion in a shell, by argcomplete: commands and flags, recipes, settings and their values.

The shell calls the program with some environment variables, and it answers and ends. Every press
of the tab key waits for that, so nothing here may import JAX.
"""

import argparse
from collections.abc import Mapping
import os
from typing import Any

import argcomplete
from argcomplete import completers

from mlm_jax import config
from mlm_jax.config import limits
from mlm_jax.config import meanings
from mlm_jax.config import shipped


def answer(
  parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser]
) -> None:
  """Tells a shell what may follow, and ends the process; returns where none asks.

  Args:
    parser: of the whole command line.
    commands: {name: parser} of the commands; arguments for the settings are added to them.
  """
  if '_ARGCOMPLETE' not in os.environ:
    return
  for each in commands.values():
    _complete_values(each)
  _Finder()(parser, always_complete_options='long')


class _Finder(argcomplete.CompletionFinder):
  """Ends the name of a setting with the = that has to follow."""

  def filter_completions(self, completions: list[str]) -> list[str]:
    found = super().filter_completions(completions)
    # What zsh and fish show beside each is kept under its text.
    shown = self._display_completions
    shown.update({f'{each}=': shown.get(each, '') for each in found if _is_setting(each)})
    return [f'{each}=' if _is_setting(each) else each for each in found]


def _is_setting(completion: str) -> bool:
  """Whether it is the name of a setting, and not its value too."""
  return completion.startswith('--config.') and '=' not in completion


def _complete_values(parser: argparse.ArgumentParser) -> None:
  """Says of a command's arguments what their values may be."""
  actions = {action.dest: action for action in parser._actions}
  if 'config' in actions:
    # Of a command that has a policy, single settings are those of the policy.
    only = 'masking' if 'policy' in actions else ''
    for key in ('masking', *config.flatten(config.base())):
      if key.startswith(only):
        actions[f'config.{key}'] = _add_setting(parser, key)
  for name, completer in _COMPLETERS.items():
    if name in actions:
      # An attribute that argcomplete looks for.
      actions[name].completer = completer  # pyrefly: ignore[missing-attribute]


def _add_setting(parser: argparse.ArgumentParser, key: str) -> argparse.Action:
  """Adds --config.KEY, with its choices where there are some."""
  meaning = meanings.meanings()[key]
  action = parser.add_argument(f'--config.{key}', dest=f'config.{key}', help=meaning)
  names = [each for each in meanings.choices(key) if each]
  action.completer = lambda **unused: names  # pyrefly: ignore[missing-attribute]
  return action


def _recipes(prefix: str, **unused: Any) -> list[str]:
  """Returns the recipes of the package with their small variants, and files."""
  names = shipped.names()
  return [*names, *(f'{name}:smoke' for name in names), *_CONFIGS(prefix)]


def _tokenizers(prefix: str, **unused: Any) -> list[str]:
  """Returns the kinds of tokenizers that can be trained, and files."""
  return [*meanings.choices('data.tokenizer'), *_FILES(prefix)]


_FILES, _FOLDERS = completers.FilesCompleter(), completers.DirectoriesCompleter()
_CONFIGS = completers.FilesCompleter(['.py', '.json'])
# What completes the values of an argument, by its name; others take files.
_COMPLETERS = {
  'config': _recipes,
  'policy': lambda **unused: list(config.PRESETS),
  'key': lambda **unused: list(meanings.meanings()),
  'workdir': _FOLDERS,
  'experiment': _FOLDERS,
  'config.init_from': _FOLDERS,
  'config.log.trackers': lambda **unused: list(limits.TRACKERS),
  'config.data.prepared': _FOLDERS,
  'config.data.tokenizer': _tokenizers,
}
