"""Draw the training curves of runs and print where they ended, and on which data.

Example:
  mlm-jax report runs/demo --out=curve.png
"""


def add_arguments(parser):
  parser.add_argument('workdir', nargs='+', help='folders of runs')
  parser.add_argument('--out', default='curve.png', help='the picture: .png, .svg or .pdf')


def run(args):
  from mlm_jax.analysis import curve
  from mlm_jax.analysis import runs
  curve.draw(args.workdir, args.out)
  print('\n'.join(runs.table(args.workdir)))
  print(f'curve: {args.out}')
