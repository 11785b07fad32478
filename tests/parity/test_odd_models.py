"""Models of odd numbers, drawn at random: what `transformers` computes, and back byte for byte.

Every kind is drawn with sizes that nobody would choose and every variant that is supported: other
activations, untied heads, padding ids, positions, fine-tuned classes, halves and shards.
"""

import numpy as np
import pytest
import torch
import transformers

import mlm_jax
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from tests.huggingface import builders
from tests.parity import interop

pytestmark = pytest.mark.parity

CASES = 4  # of each kind
TOLERANCE = 5e-5
ACTIVATIONS = ('gelu', 'gelu_new', 'gelu_pytorch_tanh', 'gelu_fast', 'relu', 'silu', 'swish')
# {kind: the beginning of its classes' names}
KINDS = {
  'bert': 'Bert',
  'roberta': 'Roberta',
  'xlm_roberta': 'XLMRoberta',
  'camembert': 'Camembert',
  'distilbert': 'DistilBert',
  'electra': 'Electra',
  'deberta': 'Deberta',
  'deberta_v2': 'DebertaV2',
  'modernbert': 'ModernBert',
}
ENDS = (
  'ForMaskedLM',
  'ForMaskedLM',
  'ForMaskedLM',
  'Model',
  'ForSequenceClassification',
  'ForTokenClassification',
  'ForQuestionAnswering',
)


def drawn(random, kind):
  """Returns what a config of a kind says."""
  pick = lambda *values: values[random.integers(len(values))]
  heads = int(random.integers(1, 5))
  # A norm of fewer numbers can amplify rounding without bounds. Rotary positions need an even size
  # of a head.
  size = int(random.integers(-(-12 // heads), 16))
  width = heads * (size + size % 2 if kind == 'modernbert' else size)
  said = {
    'vocab_size': int(random.integers(builders.PIECES, 70)),
    'hidden_size': width,
    'num_attention_heads': heads,
    'num_hidden_layers': int(random.integers(1, 5)),
    'intermediate_size': int(random.integers(1, 70)),
    'max_position_embeddings': int(random.integers(60, 90)),
    'initializer_range': 0.3,
    'pad_token_id': 0,
    'tie_word_embeddings': pick(True, True, False),
  }
  act = {'modernbert': 'hidden_activation', 'distilbert': 'activation'}.get(kind, 'hidden_act')
  said[act] = pick(*ACTIVATIONS)
  if kind not in ('modernbert', 'distilbert'):
    said['type_vocab_size'] = pick(1, 2, 3)
    said['layer_norm_eps'] = pick(1e-12, 1e-5, 0.1)
    said['hidden_dropout_prob'] = pick(0.0, 0.1)
    said['attention_probs_dropout_prob'] = pick(0.0, 0.3)
  return said | _own(pick, kind, said)


def _own(pick, kind, said):
  """Returns what only a kind has."""
  if 'roberta' in kind or kind == 'camembert':
    return {'pad_token_id': pick(0, 1, 2, 3, 5, 11)}
  if kind == 'distilbert':
    names = {
      'hidden_size': 'dim',
      'num_attention_heads': 'n_heads',
      'num_hidden_layers': 'n_layers',
      'intermediate_size': 'hidden_dim',
    }
    return {theirs: said.pop(name) for name, theirs in names.items()}
  if kind == 'bert':
    return {}
  if kind == 'electra':
    return {'embedding_size': pick(7, 16, said['hidden_size'])}
  if kind == 'modernbert':
    special = {f'{name}_token_id': 2 for name in ('cls', 'sep', 'bos', 'eos')}
    return special | {
      'classifier_activation': pick(*ACTIVATIONS),
      'local_attention': pick(2, 7, 8, 200),
      'global_attn_every_n_layers': pick(1, 2, 3, 9),
      'norm_eps': pick(1e-5, 0.01),
      'embedding_dropout': pick(0.0, 0.1),
      'mlp_dropout': pick(0.0, 0.2),
      'attention_dropout': pick(0.0, 0.3),
    }
  own = {
    'relative_attention': True,
    'position_biased_input': False,
    'pos_att_type': pick(['c2p', 'p2c'], ['p2c', 'c2p'], 'p2c|c2p'),
    'max_relative_positions': pick(-1, 0, 9, 40, 100),
    'type_vocab_size': pick(0, 1, 2),
    'legacy': pick(True, True, False),
  }
  if kind == 'deberta':
    return own
  return own | {
    'position_buckets': pick(-1, 0, 4, 9, 14),
    'share_att_key': pick(True, False),
    'norm_rel_ebd': pick('none', 'layer_norm'),
    'conv_kernel_size': pick(0, 1, 3, 5),
    'conv_act': pick('tanh', *ACTIVATIONS),
  }


def their_model(random, kind):
  """Returns a PyTorch model with random weights, of biases and norms too."""
  end = ENDS[random.integers(len(ENDS))]
  of = getattr(transformers, KINDS[kind] + end)
  said = drawn(random, kind)
  if said.get('position_buckets', 0) > 0:
    said['max_relative_positions'] = 40  # more distances than buckets
  torch.manual_seed(int(random.integers(1 << 30)))
  model = of(of.config_class(**said)).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      if parameter.ndim == 1:
        parameter += 0.1 * torch.randn_like(parameter)
  return model


@pytest.mark.parametrize('seed', range(CASES))
@pytest.mark.parametrize('kind', KINDS)
def test_an_odd_model_computes_what_it_does_there_and_goes_back_as_it_came(kind, seed, tmp_path):
  random = np.random.default_rng([seed, list(KINDS).index(kind)])
  model = their_model(random, kind)
  shards = {'max_shard_size': '4KB'} if random.random() < 0.2 else {}
  theirs = interop.write(model, tmp_path / 'theirs', **shards)
  # The heads of tasks are compared in test_task_heads.py; here their encoders are.
  is_tuned = type(model).__name__.endswith(('Classification', 'QuestionAnswering'))
  importing.run(theirs, tmp_path / 'run', part='encoder' if is_tuned else '', **interop.QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  # Ids of which some are the padding that config.json names.
  tokens_BL, seen_BL = interop.rows(run.tokenizer.pad_id, builders.PIECES, 40)
  hidden_BLD, logits_BLV = interop.their_outputs(model, tokens_BL, seen_BL)
  ours, our_logits = interop.our_outputs(
    run.model, run.params, tokens_BL, run.tokenizer.pad_id, model.config.vocab_size
  )
  off = [np.abs(ours - hidden_BLD)[seen_BL].max()]
  if type(model).__name__.endswith('ForMaskedLM'):
    off.append(np.abs(our_logits - logits_BLV)[seen_BL].max() / max(1, np.abs(logits_BLV).max()))
  print(f'{type(model).__name__} {seed}: {max(off):.1e}')
  assert max(off) < TOLERANCE
  exporting.run(tmp_path / 'run', tmp_path / 'back', **interop.QUIET)
  if shards:
    interop.write(model, tmp_path / 'whole')
    theirs = tmp_path / 'whole'
  interop.assert_back(theirs, tmp_path / 'back')
