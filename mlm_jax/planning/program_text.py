"""The text of a compiled program (HLO): how often its parts run, and what devices send each other.

A program is a list of computations; loops and fusions name those that they call. A collective is
an instruction whose groups of devices are written in one of three forms:

  {{0,1},{2,3}}                                         the groups
  [2,2]<=[4]  or  [2,2]<=[2,2]T(1,0)                    0, 1, ... in a shape, transposed, reshaped
  mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}     a mesh of them, and the axes of a group

The program of several slices of TPUs is that of one of them: its groups are those of a slice, and
what it exchanges with the others is a `send` that says what for.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import math
import re

import numpy as np

_KINDS = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'ragged-all-to-all',
  'all-to-all',
  'collective-permute',
  'collective-broadcast',
)
_BITS = {'pred': 8, 's4': 4, 'u4': 4, 'bf16': 16, 'token': 0}

_COMPUTATION = re.compile(r'^(ENTRY )?%?([^ ]+) \(.*\) -> .* \{$')
# Of an asynchronous pair the start counts; its end says the same again.
_COLLECTIVE = re.compile(rf'^\s+(?:ROOT )?%?\S+ = (.*?) ({"|".join(_KINDS)})(-start)?\((.*)$')
_SLICES = re.compile(
  r'^\s+%\S+ = \((.*), u32\[\], token\[\]\) send\(.*_megascale_transfer_type="(\w+)"'
)
_WHILE = re.compile(r' while\(.*condition=%?([^ ,]+), body=%?([^ ,]+)')
_CALLS = re.compile(r'(?:calls|to_apply|branch_computations|called_computations)=\{?(%[^ },)]+)')
_ARRAY = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\]')


@dataclasses.dataclass(frozen=True)
class Collective:
  """What devices send each other at one place of a program.

  Attributes:
    kind: all-reduce, all-gather, reduce-scatter, all-to-all, collective-permute, ...
    groups: numbers of the devices, by their place in the mesh, that exchange something: tuples.
    bytes: of the whole array of a group: what is reduced, what is gathered, what is scattered; of
      all-to-all and collective-permute what one device has.
    times: how often a step does it.
    arrays: the results' types, such as bf16[256,256].
    operation: what of the model it is for, as JAX names it; '' where the compiler made it.
  """

  kind: str
  groups: tuple[tuple[int, ...], ...]
  bytes: int
  times: int
  arrays: tuple[str, ...]
  operation: str

  @property
  def sent(self) -> float:
    """The bytes that a device sends in a step, at the least (rings: arXiv:1802.05799)."""
    n = len(self.groups[0])
    if self.kind == 'collective-permute':
      return float(self.bytes * self.times)
    twice = 2 if self.kind == 'all-reduce' else 1
    return twice * (n - 1) / n * self.bytes * self.times


def collectives(text: str, devices: int, slices: int = 1) -> list[Collective]:
  """Returns the collectives of a program for so many devices, in the order of its text."""
  inside = devices // slices
  across = tuple(tuple(range(n, devices, inside)) for n in range(inside))
  found: dict[tuple, Collective] = {}
  computations = dict(_computations(text))
  times = _times(text, computations)
  for name, lines in computations.items():
    for line in lines:
      if match := _SLICES.match(line):
        arrays = _ARRAY.findall(match[1])
        kind, bytes = match[2].lower().replace('_', '-'), sum(_bytes(*each) for each in arrays)
        names = tuple(f'{dtype}[{shape}]' for dtype, shape in arrays)
        found[name, line] = Collective(kind, across, bytes, times.get(name, 1), names, '')
      elif match := _COLLECTIVE.match(line):
        made = _collective(match, name, line, times.get(name, 1), inside)
        # Each slice has the same groups, of its own devices.
        offsets = range(0, devices, inside)
        groups = tuple(tuple(n + at for n in group) for at in offsets for group in made.groups)
        made = dataclasses.replace(made, groups=groups)
        # A TPU's program has the start, the steps and the end of one as computations of their own,
        # which share its channel.
        channel = re.search(r'channel_id=(\d+)', line)
        same = (made.kind, channel[1], made.bytes) if channel else (name, line)
        if len(made.groups[0]) > 1:
          kept = found.get(same, made)
          found[same] = made if made.times > kept.times else kept
  return list(found.values())


def has_loops(text: str) -> bool:
  """Whether a program has loops, whose parts the compiler's own counts take once."""
  return _WHILE.search(text) is not None


def _computations(text: str) -> Iterator[tuple[str, list[str]]]:
  """Yields (name, lines) of each computation."""
  name, lines = '', []
  for line in text.splitlines():
    if match := _COMPUTATION.match(line):
      name, lines = match[2], []
    elif line == '}':
      yield name, lines
    else:
      lines.append(line)


def _times(text: str, computations: dict[str, list[str]]) -> dict[str, int]:
  """Returns how often each computation runs in a step."""
  calls: dict[str, list[tuple[str, int]]] = {}
  for name, lines in computations.items():
    for line in lines:
      if loop := _WHILE.search(line):
        calls.setdefault(loop[2], []).append((name, _turns(line, computations.get(loop[1], []))))
      else:
        for called in _CALLS.findall(line):
          calls.setdefault(called.lstrip('%'), []).append((name, 1))

  def times(name: str) -> int:
    if name not in known:
      # A reduction's function is called from many places, and does nothing that is counted here.
      known[name] = max((times(caller) * turns for caller, turns in calls.get(name, ())), default=1)
    return known[name]

  known: dict[str, int] = {}
  return {name: times(name) for name in computations}


def _turns(line: str, condition: Sequence[str]) -> int:
  """Returns how often a loop turns: as the compiler says, or up to its condition's one constant."""
  if said := re.search(r'known_trip_count":?\{"n":"(\d+)"', line):
    return int(said[1])
  constants = re.findall(r'= [su]32\[\]\S* constant\((\d+)\)', '\n'.join(condition))
  return int(constants[0]) if len(constants) == 1 else 1


def _collective(
  match: re.Match, computation: str, line: str, times: int, devices: int
) -> Collective:
  result, kind, start, rest = match[1], match[2], match[3], match[4]
  # A TPU's reduce-scatter may be a fusion of a sum and a cut.
  if computation.startswith('all-reduce-scatter'):
    kind, is_whole = 'reduce-scatter', True
  else:
    is_whole = False
  arrays = _ARRAY.findall(result)
  # The start of a pair has operands and results.
  if start and kind in ('all-gather', 'all-to-all', 'reduce-scatter', 'collective-permute'):
    real = [each for each in arrays if not (each[0] == 'u32' and not each[1])]
    arrays = real[len(real) // 2 :]
  groups = _groups(rest, kind, devices)
  bytes = sum(_bytes(*each) for each in arrays)
  if kind == 'reduce-scatter' and not is_whole:
    bytes *= len(groups[0])
  operation = re.search(r'op_name="([^"]*)"', line)
  names = tuple(f'{kind}[{shape}]' for kind, shape in arrays)
  return Collective(kind, groups, bytes, times, names, operation[1] if operation else '')


def _bytes(kind: str, shape: str) -> int:
  bits = _BITS.get(kind)
  if bits is None:
    bits = int(re.sub(r'\D.*', '', kind.lstrip('abcdefghijklmnopqrstuvwxyz')) or 8)
  return -(-bits * math.prod(int(each) for each in shape.split(',') if each) // 8)


def _groups(text: str, kind: str, devices: int) -> tuple[tuple[int, ...], ...]:
  """Returns the groups of devices that an instruction's text names."""
  if kind == 'collective-permute':
    pairs = re.search(r'source_target_pairs=\{(\{.*?\})\}', text)
    return _listed(pairs[1]) if pairs else (tuple(range(devices)),)
  if found := re.search(r'replica_groups=\{(\{.*?\})\}', text):
    return _listed(found[1])
  if found := re.search(r'replica_groups=\[([\d,]+)\](<=\S+)', text):
    return _rows(_iota(found[2]).reshape(_numbers(found[1])))
  if found := re.search(
    r'replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(([^)]*\)?)\))? \{([^}]*)\}', text
  ):
    axes = [each.split('=') for each in found[1].split(',')]
    sizes, names = [int(size) for _, size in axes], [name for name, _ in axes]
    ids = (_iota('<=' + found[2]) if found[2] else np.arange(math.prod(sizes))).reshape(sizes)
    inside = [names.index(each) for each in found[3].split(',')]
    outside = [n for n in range(len(names)) if n not in inside]
    size = math.prod(sizes[n] for n in inside)
    return _rows(ids.transpose(outside + inside).reshape(-1, size))
  return (tuple(range(devices)),)  # none named: all


def _iota(text: str) -> np.ndarray:
  """Returns 0, 1, ... as '<=[2,4]T(1,0)' arranges them: in the shape, then transposed."""
  shape, _, order = text.removeprefix('<=').partition('T')
  sizes = _numbers(shape)
  ids = np.arange(math.prod(sizes)).reshape(sizes)
  return ids.transpose(_numbers(order)) if order else ids


def _numbers(text: str) -> list[int]:
  return [int(each) for each in re.findall(r'\d+', text)]


def _listed(text: str) -> tuple[tuple[int, ...], ...]:
  return tuple(tuple(_numbers(each)) for each in re.findall(r'\{([^{}]*)\}', text))


def _rows(ids: np.ndarray) -> tuple[tuple[int, ...], ...]:
  return tuple(tuple(map(int, row)) for row in ids)
