"""Report on runs: their training curves, or a whole sweep with its statistics.

Example:
  mlm-jax report runs/demo --out=curve.png
  mlm-jax report sweeps/rates

For runs it draws the curves and prints their last scores and the data they are on. For a sweep
it writes report.html, results.csv, table.tex and figure.png into the sweep's folder, or into the
folder --out, and prints the answer, also when not every run is done.
"""

import argparse

from mlm_jax import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('workdir', nargs='+', help='folders of runs, or the folder of one sweep')
  parser.add_argument(
    '--out',
    help='for runs: the picture, .png, .svg or .pdf, curve.png if not given; for a '
    'sweep: the folder to write to',
  )


def run(args: argparse.Namespace) -> None:
  from mlm_jax.report import curve
  from mlm_jax.report import run_logs
  from mlm_jax.report import sweep_report
  from mlm_jax.report import sweep_results

  sweeps = [workdir for workdir in args.workdir if sweep_results.is_sweep(workdir)]
  if sweeps and len(args.workdir) > 1:
    raise config.UserError(
      f'{sweeps[0]} is a sweep: report it alone, or give the folders of single runs in it'
    )
  if sweeps:
    print('\n'.join(sweep_report.write(sweeps[0], args.out)))
    return
  out = args.out or 'curve.png'
  curve.draw(args.workdir, out)
  print('\n'.join(run_logs.table(args.workdir)))
  print(f'curve: {out}')
