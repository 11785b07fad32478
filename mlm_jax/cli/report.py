"""Report on runs: their training curves, or a whole sweep with its statistics.

Example:
  mlm-jax report runs/demo --out=curve.png
  mlm-jax report runs/demo --out=report.html
  mlm-jax report sweeps/rates

For runs it draws the curves, or writes their numbers (.csv) or the page of one run (.html), and
prints their last scores and the data they are on. For a sweep it writes report.html, results.csv
(a row a run), differences.csv (a row a comparison), curves.csv and slices.csv (a row a number),
table.tex, figure.png, .svg and .pdf into the sweep's folder, or into the folder --out, and prints
the answer, also while runs are missing. For the folder of several sweeps (see mlm-jax sweep) it
does that for each, in DIR/NAME, and writes one table of all arms in all sweeps, results.csv and
report.html.
"""

import argparse

from mlm_jax import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('workdir', nargs='+', help='folders of runs, or the folder of one sweep')
  parser.add_argument(
    '--out',
    help='for runs: a file .png, .svg, .pdf, .csv or .html, curve.png if not given; for a '
    'sweep: the folder to write to, or a file .png, .svg or .pdf for the figure alone',
  )


def run(args: argparse.Namespace) -> None:
  from mlm_jax.report import run_report
  from mlm_jax.report import suite_report
  from mlm_jax.report import sweep_report
  from mlm_jax.report import sweep_results

  sweeps = [workdir for workdir in args.workdir if sweep_results.is_sweep(workdir)]
  if sweeps and len(args.workdir) > 1:
    raise config.UserError(
      f'{sweeps[0]} is a sweep: report it alone, or give the folders of single runs in it'
    )
  if len(args.workdir) == 1 and suite_report.names(args.workdir[0]):
    print('\n'.join(suite_report.write(args.workdir[0], args.out)))
    return
  if sweeps:
    print('\n'.join(sweep_report.write(sweeps[0], args.out)))
    return
  out = args.out or 'curve.png'
  # Read before anything is written: what is refused leaves nothing.
  lines = run_report.lines(args.workdir)
  run_report.write(args.workdir, out)
  print('\n'.join(lines))
  print(f'{"report" if out.endswith(".html") else "curve"}: {out}')
