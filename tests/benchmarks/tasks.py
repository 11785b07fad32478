"""Tasks for processes of their own: without JAX, so that these start at once."""

import os
import time


def sleeper(seconds):
  return lambda calls: time.sleep(seconds * calls)


def broken(why):
  raise ValueError(f'{why}\nand a second line')


def gone(status):
  os._exit(status)


def cores(task):
  return os.sched_getaffinity(0)
