"""Every setting, file, command, flag and link that the guides name exists."""

import argparse
import importlib
import pkgutil
import re

import pytest

import mlm_jax
from mlm_jax import benchmarks
from mlm_jax import cli
from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import sweeps
from tests.docs import blocks

PAGES = pytest.mark.parametrize(
  'page', [*blocks.PAGES, *blocks.NOTES], ids=lambda page: f'{page.parent.name}/{page.stem}'
)
KINDS = config_lib.finetuning(), config_lib.adaptation(), config_lib.base()
SETTINGS = {key: value for made in KINDS for key, value in config_lib.flatten(made).items()}
GROUPS = {key.split('.')[0] for key in SETTINGS if '.' in key}
NODES = {'.'.join(key.split('.')[:n]) for key in SETTINGS for n in range(1, 4)}
# Modules that a reader imports by these names.
MODULES = {
  'mlm_jax': mlm_jax,
  'masking': masking,
  'config': config_lib,
  'sweeps': sweeps,
  'batches': importlib.import_module('mlm_jax.core.batches'),
}
NAME = r'[a-z_][a-zA-Z_0-9]*'
# Flags of other programs.
OTHERS = {'--smoke', '--help', '--config'}


def exists(dotted):
  """Whether a dotted name is a setting, or an attribute of a module that readers import."""
  first, _, rest = dotted.partition('.')
  if dotted in NODES or first == 'config' and rest in NODES:
    return True
  return first in MODULES and hasattr(MODULES[first], rest.split('.')[0])


@PAGES
def test_every_setting_exists(page):
  text = ' '.join([*blocks.spans(page), *(block.text for block in blocks.of(page))])
  flags = re.findall(r'--config\.([a-z_0-9.]+)', text)
  quoted = re.findall(r"'([a-z_]+\.[a-z_0-9.]+)':", text)
  assert not [key for key in flags + quoted if key not in NODES]
  words = ' '.join(re.sub(r'--\S+', ' ', span) for span in blocks.spans(page))
  starts = '|'.join({*GROUPS, *MODULES})
  named = re.findall(rf'(?<![\w./-])((?:{starts})(?:\.{NAME})+)(?![\w/]|\.\w)', words)
  files = re.compile(r'.*\.(py|json|md)$')
  assert not [each for each in named if not files.match(each) and not exists(each)]


def test_a_setting_that_does_not_exist_is_found():
  assert exists('config.masking.rate') and exists('masking.make') and exists('optim.schedule')
  assert not exists('masking.select') and not exists('config.optim.layer_decay')


@PAGES
def test_every_file_exists(page):
  text = ' '.join([*blocks.spans(page), *(block.text for block in blocks.of(page))])
  rooms = 'mlm_jax|configs|experiments|tests|notebooks|docs|\\.ci|\\.github'
  named = re.findall(rf'(?<![\w./-])((?:{rooms})/[\w./-]*)', text)
  made = {'experiments/mine', 'experiments/mine/sweep.py'}  # by the reader
  missing = [path for path in set(named) - made if not (blocks.ROOT / path).exists()]
  assert not missing


def anchors(page):
  """Returns the names of a page's headings, as a link says them."""
  heads = re.findall(r'^#+ (.*)$', blocks.prose(page), re.MULTILINE)
  return {re.sub(r'[^\w -]', '', head).lower().replace(' ', '-') for head in heads}


@PAGES
def test_every_link_resolves(page):
  for link in re.findall(r'\]\(([^)]+)\)', blocks.prose(page)):
    if '://' in link:
      continue
    file, _, anchor = link.partition('#')
    target = page.parent / file if file else page
    assert target.exists(), link
    assert not anchor or anchor in anchors(target), link


def test_every_guide_is_linked_from_the_first_page():
  links = re.findall(r'\]\(([^)]+)\)', (blocks.ROOT / 'README.md').read_text())
  guides = {str(page.relative_to(blocks.ROOT)) for page in blocks.PAGES[1:]}
  assert guides <= set(links)


def flags_of(module):
  """Returns the flags of a command."""
  parser = argparse.ArgumentParser()
  module.add_arguments(parser)
  return set(parser._option_string_actions)


def commands():
  """Returns {command: its flags}."""
  names = [each.name for each in pkgutil.iter_modules(cli.__path__) if each.name[0] != '_']
  found = {name: flags_of(importlib.import_module(f'mlm_jax.cli.{name}')) for name in names}
  parts = [
    importlib.import_module(f'mlm_jax.benchmarks.{each.name}')
    for each in pkgutil.iter_modules(benchmarks.__path__)
  ]
  for part in parts:
    if hasattr(part, 'add_arguments'):
      found['bench'] |= flags_of(part)
  return found


@PAGES
def test_every_command_and_flag_exists(page):
  known = commands()
  every = set().union(*known.values()) | OTHERS
  lines = [line for block in blocks.of(page) if block.language == 'sh' for line in block.commands]
  for line in [*lines, *blocks.spans(page)]:
    flags = {flag for flag in re.findall(r'(?<!\S)--[a-z-]+(?!\.|\w)', line)}
    command = re.search(r'\bmlm-jax ([a-z]+)', line)
    if command:
      assert command.group(1) in known, line
      assert flags <= known[command.group(1)] | OTHERS, line
    elif line.startswith('--'):
      assert flags <= every, line


def test_every_command_is_in_the_table():
  table = (blocks.ROOT / 'docs' / 'commands.md').read_text()
  assert not [name for name in commands() if f'`mlm-jax {name}`' not in table]


def test_every_recipe_is_in_the_table():
  table = (blocks.ROOT / 'docs' / 'recipes.md').read_text()
  recipes = [path.name for path in (blocks.ROOT / 'configs').glob('*.py')]
  assert not [name for name in recipes if f'`configs/{name}`' not in table]


def test_every_preset_is_named():
  text = (blocks.ROOT / 'docs' / 'masking.md').read_text()
  assert not [name for name in config_lib.PRESETS if f'`{name}`' not in text]


def test_the_import_rule_is_the_one_that_is_enforced():
  rule = ' '.join((blocks.ROOT / 'README.md').read_text().split())
  layers = importlib.import_module('tests.test_imports').LAYERS
  said = ' -> '.join(
    names[0] if len(names) == 1 else '{' + ', '.join(names) + '}' for names in layers
  )
  assert f'`{said}`' in rule
