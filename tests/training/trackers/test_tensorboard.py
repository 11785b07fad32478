"""TensorBoard's events, read back record by record: numbers, steps, settings, how a run ended."""

import struct
from typing import Any

import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.proto import plugin_hparams_pb2

from mlm_jax import config as config_lib
from mlm_jax.training import loop
from tests.training import toy
from tests.training.trackers import test_services

_EVENTS: Any = event_pb2  # their classes are made when they are imported
_HPARAMS: Any = plugin_hparams_pb2


def events(workdir):
  """Returns the events of a run in their order: TFRecord, length, its checksum, bytes, theirs."""
  found = []
  for path in sorted((workdir / 'tensorboard').iterdir()):
    content = path.read_bytes()
    while content:
      (size,) = struct.unpack('<Q', content[:8])
      found.append(_EVENTS.Event.FromString(content[12 : 12 + size]))
      content = content[16 + size :]
  return found


def shown(workdir):
  """Returns {(tag, step): value} as TensorBoard does: a start forgets what is later."""
  found = {}
  for event in events(workdir):
    if event.HasField('session_log'):
      found = {key: value for key, value in found.items() if key[1] < event.step}
    for value in event.summary.value:
      if value.HasField('simple_value'):
        assert (value.tag, event.step) not in found
        found[value.tag, event.step] = value.simple_value
  return found


def hparams(workdir):
  """Returns {tag: [HParamsPluginData, ...]} of what the plugin reads."""
  found = {}
  for event in events(workdir):
    for value in event.summary.value:
      if value.metadata.plugin_data.plugin_name == 'hparams':
        content = value.metadata.plugin_data.content
        read = _HPARAMS.HParamsPluginData.FromString(content)
        found.setdefault(value.tag.removeprefix('_hparams_/'), []).append(read)
  return found


def config(**settings):
  return toy.config(log__trackers='tensorboard', log__every=1, **settings)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  assert toy.train(config(masking__rate=0.3), workdir)
  return workdir


def test_the_events_are_the_logs(run):
  assert shown(run) == pytest.approx(test_services.written(run), rel=1e-6)


def test_a_run_that_goes_on_shows_every_step_once(tmp_path, monkeypatch):
  toy.train_until(config(), tmp_path / 'run', 4, monkeypatch)
  toy.checkpoint.shutil.rmtree(tmp_path / 'run' / 'checkpoints' / '4')
  assert toy.train(config(), tmp_path / 'run')
  assert shown(tmp_path / 'run') == pytest.approx(test_services.written(tmp_path / 'run'), rel=1e-6)


def test_all_settings_are_hyperparameters(run):
  (start,) = hparams(run)['session_start_info']
  found = {
    key: getattr(value, value.WhichOneof('kind'))
    for key, value in start.session_start_info.hparams.items()
  }
  flat = config_lib.flatten(config(masking__rate=0.3))
  assert set(found) == set(flat) and found['masking.rate'] == 0.3
  assert found['model.tied_head'] is True and found['masking.corruption_probs'] == '[0.8, 0.1, 0.1]'
  numbers = {key: x for key, x in flat.items() if isinstance(x, int | float)}
  assert {key: found[key] for key in numbers} == numbers


def test_the_last_evaluation_is_what_runs_are_compared_by(run):
  (experiment,) = hparams(run)['experiment']
  named = [each.name.tag for each in experiment.experiment.metric_infos]
  assert named == ['evaluations/fit_error'] and (named[0], 6) in shown(run)
  of = {each.name for each in experiment.experiment.hparam_infos}
  assert of == set(config_lib.flatten(config()))


def test_how_a_run_ends_is_its_status(run, tmp_path, monkeypatch):
  success, failure = 1, 2
  status = lambda workdir: [
    each.session_end_info.status for each in hparams(workdir).get('session_end_info', ())
  ]
  assert status(run) == [success]
  toy.train_until(config(), tmp_path / 'run', 4, monkeypatch)
  assert status(tmp_path / 'run') == []  # it goes on later
  with pytest.raises(loop.Diverged):
    c = config(optim__max_consecutive_nonfinite=2)
    toy.train(c, tmp_path / 'diverges', objective=toy.Regression(poison=3))
  assert status(tmp_path / 'diverges') == [failure]


def test_two_starts_in_one_second_leave_two_files(tmp_path, monkeypatch):
  monkeypatch.setattr('time.time', lambda: 1e9)
  toy.train_until(config(), tmp_path / 'run', 4, monkeypatch)
  assert toy.train(config(), tmp_path / 'run')
  assert len(list((tmp_path / 'run' / 'tensorboard').iterdir())) == 2
