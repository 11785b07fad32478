"""`make parity` runs what is here, in an environment that has the peers; elsewhere it is not
collected.
"""

import importlib.util

if not all(importlib.util.find_spec(name) for name in ('torch', 'transformers')):
  collect_ignore_glob = ['test_*.py']
