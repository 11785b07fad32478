"""Five minutes of everything: corpus, tokenizer, pretraining, scores, filled masks."""

from collections.abc import Callable
from collections.abc import Mapping
import os
import pathlib
import sys
import time

import jax

from mlm_jax import config as config_lib
from mlm_jax.core import compilation_cache
from mlm_jax.core import rng
from mlm_jax.data import loader as loader_lib
from mlm_jax.data import store
from mlm_jax.evaluation import baselines
from mlm_jax.inference import predictor
from mlm_jax.tasks import pretraining
from mlm_jax.training import compiled as compiled_lib
from mlm_jax.training import logs
from mlm_jax.training import sharding
from mlm_jax.training import workdir as workdir_lib

SENTENCES = (
  'This function returns [MASK] if the two arrays are equal.',
  'Return the number [MASK] elements in the list.',
  'The default [MASK] is None.',
  'The shape of [MASK] input array.',
  'A [MASK] of integers.',
)
_TIMED_STEPS = 12


def config() -> config_lib.Config:
  """Returns the demo's recipe; its steps are fixed by `fit_to`.

  Small batches, for many steps within minutes, and an initialisation that leaves the plateau of
  the unigram loss; experiments/novels_small/NOTES.md says how both were found.
  """
  c = config_lib.base()
  c.batch_size = 8
  c.data.update(
    source='pydocs',
    vocab_size=4096,
    row_length=64,
    validation_fraction=0.02,
    tokenizer_characters=3_000_000,
  )
  c.masking.update(rate=0.3, corruption_probs=(1.0, 0.0, 0.0))
  c.model.update(
    family='bert',
    layers=1,
    width=192,
    heads=3,
    feed_forward=768,
    init='neighbours',
    init_std=0.072,
    dropout=0.0,
  )
  c.optim.update(learning_rate=2e-3, schedule='linear')
  c.evaluation.update(rows=512, batch_size=64)
  # As many devices as there are and a batch of 8 can be divided over.
  c.mesh.devices = sharding.largest_mesh(c.batch_size).devices.size
  return c


def fit_to(config: config_lib.Config, seconds: float, seconds_per_step: float) -> config_lib.Config:
  """Returns the config with the steps that fit into the time, and what depends on their number."""
  config = config.copy_and_resolve_references()
  config.total_steps = steps = max(40, int(seconds / seconds_per_step))
  config.optim.warmup_steps = min(500, steps // 5)
  # Rounded up, so that there are at most 5 evaluations, 2 checkpoints and 50 lines of log.
  config.evaluation.every = -(-steps // 5)
  config.checkpoint.every = -(-steps // 2)
  config.log.every = -(-steps // 50)
  return config


def run(
  workdir: str | os.PathLike[str], minutes: float, log: Callable[[str], None] = print
) -> bool:
  """Trains a small encoder in workdir and logs its results; returns whether it is complete.

  It is resumed where it was stopped.
  """
  workdir = pathlib.Path(workdir)
  if (workdir / 'config.json').exists():
    settings = workdir_lib.read_config(workdir)
    log(
      f'Resuming the run in {workdir}, whose {settings.total_steps} steps are fixed; '
      'remove the folder to start again.'
    )
  else:
    settings = pretraining.resolve(config())
    compilation_cache.use(settings.compilation_cache, log)  # the steps are timed before they train
    log('1. The corpus: the documentation of Python and of the packages installed here.')
    with workdir_lib.locked(workdir):
      prepared = pretraining.prepare_data(settings, workdir, log)
      # Fixed now and saved with the config: a resumed run needs the same number of steps.
      seconds_per_step = time_steps(settings, prepared)
    settings = fit_to(settings, 60 * minutes, seconds_per_step)
    log(
      f'2. Training: {settings.total_steps} steps of {1000 * seconds_per_step:.0f} ms '
      f'make {minutes:g} minutes.'
    )
  if not pretraining.run(settings, workdir, log):
    return False
  _log_results(settings, workdir, log)
  return True


def time_steps(config: config_lib.Config, prepared: list[store.Prepared]) -> float:
  """Returns the seconds that one training step takes, without compilation."""
  mesh = sharding.make_mesh(config.mesh)
  problem = pretraining.problem(config, prepared, mesh)
  compiled = compiled_lib.compile_problem(problem, config, mesh)
  key = rng.root_key(config.seed)
  state = compiled.init(key)
  seconds = []
  for step in range(_TIMED_STEPS):
    began = time.perf_counter()
    state, _ = compiled.steps[0](state, compiled.batch(step), key)
    jax.block_until_ready(state)  # else only the dispatch is timed
    seconds.append(time.perf_counter() - began)
  # The median without the first two, of which one compiles.
  return sorted(seconds[2:])[len(seconds[2:]) // 2]


def _log_results(
  config: config_lib.Config, workdir: pathlib.Path, log: Callable[[str], None]
) -> None:
  """Logs the scores of the run and of the baselines, filled masks, and what to type next."""
  (prepared,) = pretraining.prepare_data(config, workdir, lambda line: None)
  # The rows that the run itself was evaluated on, so that the scores are comparable.
  loader = loader_lib.EvaluationLoader(
    prepared, config.evaluation.batch_size, config.evaluation.rows
  )
  last = logs.read_log(workdir, 'evaluations')[-1]
  scores = baselines.score(prepared, loader)
  scores['the model'] = {'loss': last['reference_loss'], 'accuracy': last['reference_accuracy']}
  log('')
  log(
    f'3. Held-out text, 15 % of its tokens hidden ({loader.rows} rows of {config.data.row_length}):'
  )
  log(f'   {"":<12} {"loss (nats)":>12} {"accuracy":>10}')
  for name, score in scores.items():
    log(f'   {name:<12} {score["loss"]:>12.3f} {score["accuracy"]:>10.3f}')
  log('   ' + verdict(scores))
  log('')
  log('4. Masks filled:')
  opened = predictor.open_run(workdir)
  for sentence in SENTENCES:
    log('   ' + sentence)
    log('   ' + predictor.format_predictions(opened.fill(sentence, top_k=4)))
  log('')
  log(f'The run is in {workdir}. What to type next:')
  # The program as it was called: `make demo` does not put it on the path.
  program = sys.argv[0] if pathlib.Path(sys.argv[0]).name == 'mlm-jax' else 'mlm-jax'
  log(f"   {program} fill --workdir={workdir} 'Raised when the file cannot be [MASK].'")
  log(f'   {program} report {workdir} --out=curve.png')
  log(
    f"   {program} train --config=novels_small --config.data.source='text:MY/*.txt' "
    '--workdir=runs/mine'
  )


def verdict(scores: Mapping[str, Mapping[str, float]]) -> str:
  """Returns a sentence that compares the model with each baseline, also when it is worse."""
  parts = []
  for name in ('unigram', 'bigram'):
    gain = scores[name]['loss'] - scores['the model']['loss']
    parts.append(f'{abs(gain):.3f} nats {"below" if gain > 0 else "ABOVE"} the {name} baseline')
  return f'The model ends {parts[0]} and {parts[1]} (lower is better).'
