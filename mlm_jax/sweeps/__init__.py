"""Sweeps: sets of runs that answer one question.

  algebra            param, product, chain, zip, seeds: lists of settings
  names              names of arms and runs
  planning           a Sweep, and the runs that it asks for, checked
  contrasts          which arms are to be compared, where the sweep says so
  kinds              what differs between pretraining (pretrained) and fine-tuning (finetuned)
  metrics            what arms may be compared by
  judges             what the arms are for: held-out text, zero-shot suites, fine-tunings
  policies           what the arms hide: the policies that every run is scored under
  budgets            what runs cost, and how long each arm trains to spend what the baseline spends
  power              which differences the seeds find, and how many seeds one takes
  plan_text          the plan as text
  layout             the sweep's work directory
  runner             trains the runs, each by itself
  suites             several sweeps of one question, each with a metric of its own
  seed_runs          one config of fine-tuning with several seeds
  vectorized_runner  trains them as replicas of one step
  scoring            scores the finished runs under the policies of all arms
  judging            judges the finished runs
  launchers          where they are trained: processes here, or tasks of a Ray cluster
  progress           what a person sees meanwhile

An experiment is a folder with a sweep.py:

  from mlm_jax import config
  from mlm_jax import sweeps

  def get_sweep():
    return sweeps.Sweep(
        question='Does a higher masking rate help a small encoder?',
        base=config.load('novels_small'),
        runs=sweeps.product(sweeps.param('masking.rate', [0.15, 0.3, 0.5]), sweeps.seeds(5)),
        budget='tokens', baseline='rate=0.15')
"""

from mlm_jax.sweeps.algebra import chain
from mlm_jax.sweeps.algebra import param
from mlm_jax.sweeps.algebra import product
from mlm_jax.sweeps.algebra import seeds
from mlm_jax.sweeps.algebra import zip
from mlm_jax.sweeps.judges.fine_tuned import FineTuned
from mlm_jax.sweeps.judges.held_out import HeldOut
from mlm_jax.sweeps.judges.zero_shot import ZeroShot
from mlm_jax.sweeps.planning import Sweep
from mlm_jax.sweeps.planning import load
from mlm_jax.sweeps.planning import plan
from mlm_jax.sweeps.runner import run

__all__ = [
  'FineTuned',
  'HeldOut',
  'Sweep',
  'ZeroShot',
  'chain',
  'load',
  'param',
  'plan',
  'product',
  'run',
  'seeds',
  'zip',
]
