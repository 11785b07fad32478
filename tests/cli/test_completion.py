"""Completion in a shell: what argcomplete is told for a line that somebody is typing."""

import io
import os
import resource
import subprocess
import sys

import pytest

from mlm_jax import __main__
from mlm_jax import config as config_lib
from mlm_jax.cli import _completion
from mlm_jax.config import shipped


class Answered(Exception):
  """In place of the end of the process."""


@pytest.fixture
def completed(monkeypatch, tmp_path):
  """Function (line) -> what a shell offers where the line is typed, by argcomplete's protocol."""
  monkeypatch.chdir(tmp_path)
  call = _completion.argcomplete.CompletionFinder.__call__

  def complete(line):
    written = io.StringIO()

    def answer(self, parser, **settings):
      def leave(status):
        raise Answered

      written.close = lambda: None
      call(self, parser, output_stream=written, exit_method=leave, **settings)

    for name, value in {
      '_ARGCOMPLETE': '1',
      '_ARGCOMPLETE_IFS': '\n',
      '_ARGCOMPLETE_COMP_WORDBREAKS': ' \t\n"\'><=;|&(:',  # those of bash
      '_ARGCOMPLETE_SUPPRESS_SPACE': '1',
      'COMP_LINE': line,
      'COMP_POINT': str(len(line)),
    }.items():
      monkeypatch.setenv(name, value)
    monkeypatch.setattr(_completion._Finder, '__call__', answer)
    monkeypatch.setattr(_completion._Finder, '_init_debug_stream', lambda self: None)
    with pytest.raises(Answered):
      __main__.main(line.split()[1:])
    return written.getvalue().split('\n')

  return complete


@pytest.mark.parametrize(
  'line, offered',
  (
    ('mlm-jax tra', ['train']),
    ('mlm-jax --ver', ['--version']),
    ('mlm-jax train --prof', ['--profile']),
    ('mlm-jax train --config=modernbert_l', ['modernbert_large', 'modernbert_large:smoke']),
    ('mlm-jax train --config bert_l', ['bert_large', 'bert_large:smoke']),
    ('mlm-jax train --config=bert_base:s', ['smoke']),  # bash has its word end at the colon
    ('mlm-jax train --config.masking.un', ['--config.masking.unit=']),
    ('mlm-jax train --config.masking.unit=s', ['sentence', 'span']),
    ('mlm-jax train --config.model.remat=', ['true', 'false']),
    ('mlm-jax train --config.log.trackers=t', ['tensorboard', 'trackio']),
    ('mlm-jax train --config.masking=spanb', ['spanbert']),
    ('mlm-jax train --config=bert_base --config.optim.name=l', ['lamb']),
    ('mlm-jax mask --policy=dink', ['dinky40']),
    ('mlm-jax mask --config.optim.', ['']),  # it takes the settings of a policy alone
    ('mlm-jax evaluate --config.masking.sel', ['--config.masking.selection=']),
    ('mlm-jax config masking.ra', ['masking.rate', 'masking.rate_power']),
    ('mlm-jax export --part=e', ['encoder']),
    ('mlm-jax train --config.data.tokenizer=w', ['word', 'wordpiece']),
  ),
)
def test_a_line_is_completed(completed, line, offered):
  assert completed(line) == offered


def test_all_recipes_settings_and_presets_are_offered(completed):
  assert set(shipped.names()) <= set(completed('mlm-jax train --config='))
  keys = {f'--config.{key}=' for key in config_lib.flatten(config_lib.base())}
  assert set(completed('mlm-jax train --config.')) == {*keys, '--config.masking='}
  assert set(completed('mlm-jax mask --policy=')) == set(config_lib.PRESETS)


def test_files_are_offered_beside_recipes(completed, tmp_path):
  for name in ('mine.py', 'mine.txt', 'run/config.json'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  assert completed('mlm-jax train --config=mi') == ['mine.py']
  assert completed('mlm-jax train --config=run/') == ['run/config.json']
  assert completed('mlm-jax train --workdir=r') == ['run/']


def test_what_a_shell_does_not_ask_is_parsed_as_ever(monkeypatch, capsys):
  monkeypatch.delenv('_ARGCOMPLETE', raising=False)
  with pytest.raises(SystemExit):
    __main__.main(['train', '--config.masking.unit', '--workdir=run'])
  assert 'unknown argument --config.masking.unit' in capsys.readouterr().err


def _processor_seconds():
  """Returns the processor time of the processes that this one has waited for."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


@pytest.mark.slow
def test_an_answer_takes_less_than_half_a_second_and_imports_no_jax(tmp_path):
  seconds = []
  for _ in range(5):
    began = _processor_seconds()
    done = subprocess.run(
      [sys.executable, '-X', 'importtime', '-m', 'mlm_jax'],
      env={
        **os.environ,
        '_ARGCOMPLETE': '1',
        '_ARGCOMPLETE_STDOUT_FILENAME': str(tmp_path / 'answer'),
        'COMP_LINE': 'mlm-jax train --config.masking.un',
        'COMP_POINT': '33',
      },
      capture_output=True,
      text=True,
      check=True,
    )
    seconds.append(_processor_seconds() - began)
  assert (tmp_path / 'answer').read_text() == '--config.masking.unit='
  imported = {line.rpartition('|')[2].strip() for line in done.stderr.splitlines()}
  assert 'argcomplete' in imported and not {'jax', 'flax', 'numpy', 'rich'} & imported
  assert min(seconds) < 0.5, seconds
