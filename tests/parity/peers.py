"""BERT and RoBERTa of `transformers` in PyTorch, and how ours takes over their weights.

Linear weights are transposed there, and layers apart where ours are stacked. The
RoBERTa of `transformers` has a table of one token type, which neither its paper nor
ours has: it stands at zero there and is not trained.
"""

import numpy as np
import torch
import transformers

from mlm_jax import trees

# More threads than free cores wait for each other: minutes where one takes seconds.
torch.set_num_threads(1)

# The paths of ours -> the names of theirs, in both families; N stands for the layer.
_DENSE = {
    'attention/query': 'attention.self.query', 'attention/key': 'attention.self.key',
    'attention/value': 'attention.self.value', 'attention/out': 'attention.output.dense',
    'feed_forward/in': 'intermediate.dense', 'feed_forward/out': 'output.dense',
}
_NORM = {'attention_norm': 'attention.output.LayerNorm', 'feed_forward_norm': 'output.LayerNorm'}
_TABLES = {'token': 'word_embeddings', 'position': 'position_embeddings', 'type': 'token_type_embeddings'}
_HEAD = {
    'bert': {'transform': 'cls.predictions.transform.dense', 'norm': 'cls.predictions.transform.LayerNorm',
             'bias': 'cls.predictions.bias'},
    'roberta': {'transform': 'lm_head.dense', 'norm': 'lm_head.layer_norm', 'bias': 'lm_head.bias'},
}


def make(family, architecture, pad_id, seed=0, **settings):
  """Returns the PyTorch model of an encoder.Architecture, with random weights, without dropout.

  Args:
    family: bert or roberta.
    architecture: of our model.
    pad_id: the padding token.
    seed: of the weights.
    **settings: what to change in its config.
  """
  a = architecture
  config, model = {'bert': (transformers.BertConfig, transformers.BertForMaskedLM),
                   'roberta': (transformers.RobertaConfig, transformers.RobertaForMaskedLM)}[family]
  torch.manual_seed(seed)
  model = model(config(**{
      'vocab_size': a.vocab_size, 'hidden_size': a.width, 'num_hidden_layers': a.layers,
      'num_attention_heads': a.heads, 'intermediate_size': a.feed_forward,
      'max_position_embeddings': a.max_positions + a.position_offset, 'type_vocab_size': a.types or 1,
      'layer_norm_eps': a.norm_epsilon, 'initializer_range': a.init_std, 'pad_token_id': pad_id,
      'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0, **settings}))
  if not a.types:
    types = model.base_model.embeddings.token_type_embeddings.weight
    types.requires_grad_(False).zero_()
  # Biases and norms start at 0 and 1, where a mix-up of two of them would not show.
  with torch.no_grad():
    for parameter in model.parameters():
      if parameter.ndim == 1:
        parameter += a.init_std * torch.randn_like(parameter)
  return model


def ours(named, family, architecture):
  """Returns the tree of our parameters with the values of theirs.

  Args:
    named: {name of theirs: array}, their weights or gradients.
    family: bert or roberta.
    architecture: of our model; rows of its vocabulary that they lack are zero.
  """
  a = architecture
  dense = lambda name: {'kernel': named[f'{name}.weight'].T, 'bias': named[f'{name}.bias']}
  norm = lambda name: {'scale': named[f'{name}.weight'], 'bias': named[f'{name}.bias']}
  longer = lambda x: np.pad(x, [(0, a.padded_vocab_size - a.vocab_size)] + [(0, 0)] * (x.ndim - 1))
  inside = lambda name: f'{family}.embeddings.{name}'

  embeddings = {key: {'embedding': named[inside(f'{name}.weight')]}
                for key, name in _TABLES.items() if key != 'type' or a.types}
  embeddings['token'] = {'embedding': longer(embeddings['token']['embedding'])}
  layers = {}
  for part, names in ((dense, _DENSE), (norm, _NORM)):
    for path, name in names.items():
      each = [part(f'{family}.encoder.layer.{n}.{name}') for n in range(a.layers)]
      *outer, last = path.split('/')
      place = layers
      for key in outer:
        place = place.setdefault(key, {})
      place[last] = {key: np.stack([one[key] for one in each]) for key in each[0]}
  head = _HEAD[family]
  return {
      'embeddings': embeddings | {'norm': norm(inside('LayerNorm'))},
      'layers': layers,
      'head': {'transform': dense(head['transform']), 'norm': norm(head['norm']),
               'bias': longer(named[head['bias']])}}


def weights(model, family, architecture):
  """Returns our parameters with the values of their model."""
  return ours({name: p.detach().numpy().copy() for name, p in model.named_parameters()}, family, architecture)


def gradients(model, family, architecture):
  """Returns {path of ours: their gradient}."""
  named = {name: p.grad.numpy() for name, p in model.named_parameters() if p.requires_grad}
  return trees.paths(ours(named, family, architecture))


def optimizer(model, config, total_steps):
  """Returns (optimizer, schedule) as our config says, from PyTorch's own parts."""
  trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
  spared = lambda name: name.endswith('bias') or 'LayerNorm' in name or 'layer_norm' in name
  adamw = torch.optim.AdamW(
      [{'params': [p for name, p in trained if not spared(name)], 'weight_decay': config.weight_decay},
       {'params': [p for name, p in trained if spared(name)], 'weight_decay': 0.0}],
      lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon)
  warmup = config.warmup_steps
  share = lambda step: min((step + 1) / warmup, (total_steps - step) / (total_steps - warmup))
  return adamw, torch.optim.lr_scheduler.LambdaLR(adamw, share)
