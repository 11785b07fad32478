"""Make the runs of an experiment, or resume them.

Example:
  mlm-jax sweep experiments/masking_rate --workdir=runs/masking_rate --plan
  mlm-jax sweep experiments/masking_rate --workdir=runs/rates --plan --sd=.01 --difference=.02
  mlm-jax sweep experiments/masking_rate --workdir=runs/masking_rate --jobs=2

An experiment is a folder with a sweep.py, whose get_sweep() says which runs answer its question
(see mlm_jax/sweeps). The data is prepared once; each run is stored in DIR/runs/NAME, a folder like
that of `mlm-jax train`, with what it printed in output.log. The same command resumes a stopped
sweep: finished runs are skipped, the others continue from their newest checkpoints. The runs of a
sweep that is killed save and end, and the next one waits for them. A run that crashes is started
again, at most twice; one that diverges is not (remove its folder to start it from the beginning).
The others continue meanwhile, and the exit status is 1 in the end.

--plan also says which difference the seeds find with power .8. The standard deviation that it takes
is that of the paired differences, given by --sd, or found in a finished sweep by --pilot.

Where the arms hide different things (config.masking), each run is scored under the policies of all
when no run trains any more: --plan says what that costs. What is scored is not scored again.

Where the sweep names judges (zero-shot suites, fine-tunings), each finished run is then judged by
all of them.

Where get_sweep() returns {NAME: sweep} of several, such as a task each, they are made in turn, each
in DIR/NAME.

With --launcher=ray the runs are tasks of a running Ray cluster (ray start; RAY_ADDRESS). DIR, the
working directory and the installed mlm_jax must be the same on all nodes.

With --population runs that differ only in numbers (seed, masking.rate, optim.learning_rate, ...)
train as the replicas of one step, in this process.
"""

import argparse
from collections.abc import Callable
import math
import pathlib
import sys
import typing

from mlm_jax import config

if typing.TYPE_CHECKING:
  from mlm_jax.sweeps import launchers as launchers_lib
  from mlm_jax.sweeps import planning as planning_lib

_MOST = 1 << 20  # of any of the numbers that it takes


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('experiment', metavar='EXPERIMENT', help='a folder with a sweep.py')
  parser.add_argument('--workdir', metavar='DIR', required=True, help='the folder of the sweep')
  parser.add_argument(
    '--plan', action='store_true', help='only show the runs, their cost and their progress'
  )
  parser.add_argument(
    '--sd',
    metavar='X',
    type=float,
    help='with --plan: the standard deviation of the paired differences, in units of the metric',
  )
  parser.add_argument(
    '--pilot', metavar='SWEEP', help='with --plan: the folder of a finished sweep that has it'
  )
  parser.add_argument(
    '--difference', metavar='X', type=float, help='with --plan: how many seeds find it'
  )
  parser.add_argument(
    '--jobs',
    metavar='N',
    type=int,
    help='parallel runs; 1 if not given, with ray as many as the cluster allows',
  )
  parser.add_argument(
    '--population',
    metavar='N',
    type=int,
    nargs='?',
    const=0,
    help='train runs that differ only in numbers as one, N at a time; all if no N is given',
  )
  parser.add_argument(
    '--launcher', choices=('local', 'ray'), default='local', help='where the runs are trained'
  )
  for kind, default in (('cpus', 1), ('gpus', 0)):
    parser.add_argument(
      f'--{kind}-per-run',
      metavar='N',
      type=int,
      default=default,
      help=f'with ray: {kind.upper()[:3]}s that a run asks for, {default} if not given',
    )


def run(args: argparse.Namespace) -> None:
  for flag, value, least in (
    ('jobs', args.jobs, 1),
    ('cpus-per-run', args.cpus_per_run, 1),
    ('gpus-per-run', args.gpus_per_run, 0),
    ('population', args.population, 0),
  ):
    if value is not None and not least <= value <= _MOST:
      raise config.UserError(f'--{flag}={value}: must be between {least} and {_MOST:,}')
  _check_power(args)
  if args.population is not None and (args.jobs is not None or args.launcher != 'local'):
    raise config.UserError('--population trains in this process: leave --jobs and --launcher out')
  # Here, since they import JAX, which takes seconds: flags are checked before.
  from mlm_jax.sweeps import plan_text
  from mlm_jax.sweeps import suites

  log = lambda line: print(line, flush=True)
  plans = suites.plan(suites.load(args.experiment), args.experiment, args.workdir, log)
  for name, plan in plans.items():
    log(f'sweep {name}') if name else None
    folder = pathlib.Path(args.workdir) / name
    for line in plan_text.lines(plan, folder, *_spread(args, plan), args.difference):
      log(line)
  if args.plan:
    return
  if args.population is not None:
    done = _as_populations(plans, args, log)
  else:
    done = suites.run(plans, args.workdir, _launcher(args), log)
  if not done:
    sys.exit(1)


def _as_populations(
  plans: dict[str, 'planning_lib.Plan'], args: argparse.Namespace, log: Callable[[str], None]
) -> bool:
  """Trains runs as populations; returns whether all are done."""
  from mlm_jax.sweeps import vectorized_runner

  if list(plans) != ['']:
    raise config.UserError('--population is of one sweep; get_sweep returned several')
  return vectorized_runner.run(plans[''], args.workdir, args.population, log)


def _check_power(args: argparse.Namespace) -> None:
  """Raises UserError for wrong flags on what the seeds find."""
  for name in ('sd', 'difference'):
    value = getattr(args, name)
    if value is not None and not 0 < value < math.inf:
      raise config.UserError(f'--{name}={value}: must be a number above 0')
  given = [name for name in ('sd', 'pilot', 'difference') if getattr(args, name) is not None]
  if given and not args.plan:
    raise config.UserError(f'--{given[0]} is about the plan: give --plan with it')
  if args.sd is not None and args.pilot is not None:
    raise config.UserError('--sd and --pilot both say the standard deviation: leave one out')
  if given == ['difference']:
    raise config.UserError(
      '--difference needs the standard deviation of paired differences: give --sd or --pilot'
    )


def _spread(args: argparse.Namespace, plan: 'planning_lib.Plan') -> tuple[float | None, str]:
  """Returns (standard deviation of paired differences or None, where it is from)."""
  if args.pilot is None:
    return args.sd, f'standard deviation {args.sd:g}' if args.sd is not None else ''
  from mlm_jax.report import sweep_results
  from mlm_jax.sweeps import power

  assert plan.sweep.metric is not None  # a plan has it filled in
  sd, freedom = power.pilot(sweep_results.read(args.pilot), plan.sweep.metric)
  return sd, (
    f'standard deviation {sd:.3g} of paired differences in {args.pilot}, {freedom} degrees of '
    'freedom'
  )


def _launcher(args: argparse.Namespace) -> 'launchers_lib.Launcher':
  from mlm_jax.sweeps import launchers

  if args.launcher == 'local':
    return launchers.Local(args.jobs or 1)
  return launchers.Ray(args.cpus_per_run, args.gpus_per_run, args.jobs)
