"""Make the runs of an experiment, or resume them.

Example:
  mlm-jax sweep experiments/masking_rate --workdir=runs/masking_rate --plan
  mlm-jax sweep experiments/masking_rate --workdir=runs/masking_rate --jobs=2

An experiment is a folder with a sweep.py, whose get_sweep() says which runs answer its question
(see mlm_jax/sweeps). The data is prepared once; each run is stored in DIR/runs/NAME, a folder like
that of `mlm-jax train`, with what it printed in output.log. The same command resumes a stopped
sweep: finished runs are skipped, the others continue from their newest checkpoints. The runs of a
sweep that is killed save and end, and the next one waits for them. A run that crashes is started
again, at most twice; one that diverges is not (remove its folder to start it from the beginning).
The others continue meanwhile, and the exit status is 1 in the end.

Where the arms hide different things (config.masking), each run is scored under the policies of all
when no run trains any more: --plan says what that costs. What is scored is not scored again.

With --launcher=ray the runs are tasks of a running Ray cluster (ray start; RAY_ADDRESS). DIR, the
working directory and the installed mlm_jax must be the same on all nodes.

With --population runs that differ only in numbers (seed, masking.rate, optim.learning_rate, ...)
train as the replicas of one step, in this process.
"""

import argparse
import sys
import typing

from mlm_jax import config

if typing.TYPE_CHECKING:
  from mlm_jax.sweeps import launchers as launchers_lib


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('experiment', metavar='EXPERIMENT', help='a folder with a sweep.py')
  parser.add_argument('--workdir', metavar='DIR', required=True, help='the folder of the sweep')
  parser.add_argument(
    '--plan', action='store_true', help='only show the runs, their cost and their progress'
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
    if value is not None and value < least:
      raise config.UserError(f'--{flag}={value}: must be at least {least}')
  if args.population is not None and (args.jobs is not None or args.launcher != 'local'):
    raise config.UserError('--population trains in this process: leave --jobs and --launcher out')
  # Here, since they import JAX, which takes seconds: flags are checked before.
  from mlm_jax import sweeps
  from mlm_jax.sweeps import layout
  from mlm_jax.sweeps import plan_text

  log = lambda line: print(line, flush=True)
  plan = sweeps.plan(sweeps.load(args.experiment), args.experiment, args.workdir, log)
  layout.check(plan, args.workdir)  # otherwise runs of another sweep would be counted
  for line in plan_text.lines(plan, args.workdir):
    log(line)
  if args.plan:
    return
  if args.population is not None:
    from mlm_jax.sweeps import vectorized_runner

    done = vectorized_runner.run(plan, args.workdir, args.population, log)
  else:
    done = sweeps.run(plan, args.workdir, _launcher(args), log)
  if not done:
    sys.exit(1)


def _launcher(args: argparse.Namespace) -> 'launchers_lib.Launcher':
  from mlm_jax.sweeps import launchers

  if args.launcher == 'local':
    return launchers.Local(args.jobs or 1)
  return launchers.Ray(args.cpus_per_run, args.gpus_per_run, args.jobs)
