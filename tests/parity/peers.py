"""The models of `transformers` in PyTorch, with our config and our weights."""

import contextlib
import math

import numpy as np
import torch
from torch.nn import functional
import transformers
from transformers.models.deberta import modeling_deberta
from transformers.models.deberta_v2 import modeling_deberta_v2
from transformers.models.modernbert import modeling_modernbert

from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from mlm_jax.huggingface import settings
from mlm_jax.models import rotary

# More threads than free cores wait for each other: minutes where one takes seconds.
torch.set_num_threads(1)


def make(
  config,
  pad_id,
  params,
  architecture,
  kind='MaskedLM',
  rules=None,
  dtype=torch.float32,
  **said,
):
  """Returns the PyTorch model, without dropout; attention is written out there, not fused.

  Args:
    config: the group `model`, resolved.
    pad_id: the padding token.
    params: of ours.
    architecture: of ours.
    kind: of its class: MaskedLM, PreTraining or SequenceClassification.
    rules: of its parameters' names; None for the encoder's with the masked head.
    dtype: of its weights.
    **said: more that its config says.
  """
  theirs = settings.to_theirs(config, pad_id) | said
  for name in (
    'cls',
    'sep',
    'bos',
    'eos',
  ):  # not used, but ModernBERT's own would not fit a small vocabulary
    theirs[f'{name}_token_id'] = pad_id
  maker = getattr(transformers, f'AutoModelFor{kind}')
  model = maker.from_config(
    transformers.AutoConfig.for_model(**theirs), dtype=dtype, attn_implementation='eager'
  )
  model.eval()
  rules = rules or kinds.rules(config.family, architecture)
  named = names.to_theirs(rules, params, architecture)
  found = model.load_state_dict(
    {name: torch.tensor(x, dtype=dtype) for name, x in named.items()}, strict=False
  )
  assert not found.unexpected_keys
  # What ours has not: the second name of the tied table, and the one token type of their RoBERTa.
  for name in found.missing_keys:
    tensor = model.state_dict()[name]
    if 'token_type_embeddings' in name:
      tensor.zero_()
      dict(model.named_parameters())[name].requires_grad_(False)
    else:
      assert tensor.data_ptr() in {model.state_dict()[name].data_ptr() for name in named}, (
        f'{name} is not ours'
      )
  return model


def state(model):
  """Returns {name: array} of all there is."""
  return {name: x.detach().numpy() for name, x in model.state_dict().items()}


def gradients(model):
  """Returns {name: gradient} of all that is trained."""
  return {name: p.grad.numpy() for name, p in model.named_parameters() if p.requires_grad}


@contextlib.contextmanager
def in_float64(monkeypatch):
  """Lets theirs compute in float64 what it computes in float32, whatever the dtype of its weights.

  That is the scale of DeBERTa's attention and the norms of its first version, and the softmax
  and rotary positions of ModernBERT. That softmax makes NaN of a mask's float64 minimum, which
  is -inf in float32, where padding sees nothing.
  """
  scale = lambda query, factor: torch.tensor(math.sqrt(query.size(-1) * factor), dtype=query.dtype)
  norm = lambda self, x: functional.layer_norm(
    x, x.shape[-1:], self.weight, self.bias, self.variance_epsilon
  )
  with monkeypatch.context() as patch:
    for module in (modeling_deberta, modeling_deberta_v2):
      patch.setattr(module, 'scaled_size_sqrt', scale)
    patch.setattr(modeling_deberta.DebertaLayerNorm, 'forward', norm)
    patch.setattr(modeling_modernbert, 'eager_attention_forward', _attention)
    patch.setattr(modeling_modernbert, 'apply_rotary_pos_emb', _turn)
    patch.setattr(modeling_modernbert.ModernBertRotaryEmbedding, 'forward', _angles)
    yield


def _attention(module, query, key, value, attention_mask, scaling, **unused):
  scores = query @ key.transpose(2, 3) * scaling
  weights = torch.softmax(scores if attention_mask is None else scores + attention_mask, dim=-1)
  return (weights @ value).transpose(1, 2), weights


def _turn(query, key, cosine, sine, unsqueeze_dim):
  cosine, sine = cosine.unsqueeze(unsqueeze_dim), sine.unsqueeze(unsqueeze_dim)
  turn = lambda x: x * cosine + modeling_modernbert.rotate_half(x) * sine
  return turn(query), turn(key)


def _angles(self, x, position_ids, layer_type):
  """Of ours: float32 on both sides, but cosines of two libraries differ in their last digit."""
  theta = self.config.rope_parameters[layer_type]['rope_theta']
  halves = rotary.angles(
    position_ids.numpy(), self.config.hidden_size // self.config.num_attention_heads, theta
  )
  return [
    torch.tensor(np.concatenate([half, half], axis=-1), dtype=x.dtype)
    for half in map(np.asarray, halves)
  ]
