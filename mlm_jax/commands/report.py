"""Draw the training curves of runs and print where they ended.

Example:
  mlm-jax report runs/demo --out=curve.png
"""


def add_arguments(parser):
  parser.add_argument('workdir', nargs='+', help='folders of runs')
  parser.add_argument('--out', default='curve.png', help='the picture: .png, .svg or .pdf')


def run(args):
  from mlm_jax import workdir as workdir_lib
  from mlm_jax.analysis import curve
  curve.draw(args.workdir, args.out)
  print(f'{"run":<30} {"step":>8} {"reference loss":>15} {"accuracy":>9}')
  for workdir in args.workdir:
    for line in workdir_lib.read_log(workdir, 'evaluations')[-1:]:
      print(f'{workdir:<30} {line["step"]:>8} {line["reference_loss"]:>15.4f} '
            f'{line["reference_accuracy"]:>9.3f}')
  print(f'curve: {args.out}')
