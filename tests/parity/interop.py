"""Models of `transformers` with random weights, and what both say of the same rows."""

import numpy as np
import torch
import transformers

from mlm_jax.core import batches
from tests.huggingface import builders

torch.set_num_threads(1)

QUIET = dict(log=lambda line: None)
_TINY = dict(
  vocab_size=50,
  hidden_size=32,
  num_hidden_layers=2,
  num_attention_heads=4,
  intermediate_size=64,
  max_position_embeddings=40,
  initializer_range=0.1,
  pad_token_id=0,
)
_ROBERTA = _TINY | dict(
  pad_token_id=1, max_position_embeddings=42, type_vocab_size=1, bos_token_id=2, eos_token_id=3
)
_DEBERTA = _TINY | dict(
  relative_attention=True,
  pos_att_type=['c2p', 'p2c'],
  position_biased_input=False,
  type_vocab_size=0,
  layer_norm_eps=1e-7,
)
_SECOND = _DEBERTA | dict(position_buckets=16, share_att_key=True, norm_rel_ebd='layer_norm')
_MODERN = _TINY | dict(
  num_hidden_layers=5,
  local_attention=8,
  cls_token_id=2,
  sep_token_id=3,
  bos_token_id=2,
  eos_token_id=3,
)
_DISTIL = dict(
  pad_token_id=0,
  vocab_size=50,
  dim=32,
  n_layers=2,
  n_heads=4,
  hidden_dim=64,
  max_position_embeddings=40,
  initializer_range=0.1,
)
_UNTIED = dict(tie_word_embeddings=False)
# {case: (the name of its class, what its config says)}
CASES = {
  'bert': ('BertForMaskedLM', _TINY),
  'bert_encoder': ('BertModel', _TINY),
  'bert_pairs': ('BertForPreTraining', _TINY),
  'roberta': ('RobertaForMaskedLM', _ROBERTA),
  'roberta_encoder': ('RobertaModel', _ROBERTA),
  'xlm_roberta': ('XLMRobertaForMaskedLM', _ROBERTA),
  'camembert': ('CamembertForMaskedLM', _ROBERTA),
  'camembert_encoder': ('CamembertModel', _ROBERTA),
  'distilbert': ('DistilBertForMaskedLM', _DISTIL),
  'distilbert_encoder': ('DistilBertModel', _DISTIL),
  'electra': ('ElectraForMaskedLM', _TINY | dict(embedding_size=16)),
  'electra_wide': ('ElectraForMaskedLM', _TINY | dict(embedding_size=32)),
  'electra_detector': ('ElectraForPreTraining', _TINY | dict(embedding_size=16)),
  'electra_encoder': ('ElectraModel', _TINY | dict(embedding_size=16)),
  'deberta': ('DebertaForMaskedLM', _DEBERTA),
  'deberta_span': ('DebertaForMaskedLM', _DEBERTA | dict(max_relative_positions=12)),
  'deberta_types': ('DebertaForMaskedLM', _DEBERTA | dict(type_vocab_size=2)),
  'deberta_other_head': ('DebertaForMaskedLM', _DEBERTA | dict(legacy=False)),
  'deberta_encoder': ('DebertaModel', _DEBERTA),
  'deberta_v2': ('DebertaV2ForMaskedLM', _SECOND | dict(conv_kernel_size=3, conv_act='gelu')),
  'deberta_v2_tanh': ('DebertaV2ForMaskedLM', _SECOND | dict(conv_kernel_size=3)),
  'deberta_v2_encoder': ('DebertaV2Model', _SECOND | dict(conv_kernel_size=3, conv_act='gelu')),
  'deberta_v3': ('DebertaV2ForMaskedLM', _SECOND),
  'deberta_v3_own': (
    'DebertaV2ForMaskedLM',
    _SECOND | dict(share_att_key=False, norm_rel_ebd='none'),
  ),
  'deberta_v3_no_buckets': ('DebertaV2ForMaskedLM', _SECOND | dict(position_buckets=-1)),
  'deberta_v3_other_head': ('DebertaV2ForMaskedLM', _SECOND | dict(legacy=False)),
  'modernbert': ('ModernBertForMaskedLM', _MODERN),
  'modernbert_every_second': (
    'ModernBertForMaskedLM',
    _MODERN | dict(global_attn_every_n_layers=2),
  ),
  'modernbert_all_global': ('ModernBertForMaskedLM', _MODERN | dict(global_attn_every_n_layers=1)),
  'modernbert_other_thetas': (
    'ModernBertForMaskedLM',
    _MODERN
    | dict(
      rope_parameters={
        'full_attention': {'rope_type': 'default', 'rope_theta': 50.0},
        'sliding_attention': {'rope_type': 'default', 'rope_theta': 5.0},
      }
    ),
  ),
  'modernbert_encoder': ('ModernBertModel', _MODERN),
  # Other activations.
  'bert_gelu_new': ('BertForMaskedLM', _TINY | dict(hidden_act='gelu_new')),
  'bert_relu': ('BertForMaskedLM', _TINY | dict(hidden_act='relu')),
  'roberta_tanh': ('RobertaForMaskedLM', _ROBERTA | dict(hidden_act='gelu_pytorch_tanh')),
  'electra_silu': ('ElectraForMaskedLM', _TINY | dict(embedding_size=16, hidden_act='silu')),
  'electra_detector_relu': (
    'ElectraForPreTraining',
    _TINY | dict(embedding_size=16, hidden_act='relu'),
  ),
  'deberta_silu': ('DebertaForMaskedLM', _DEBERTA | dict(hidden_act='silu')),
  'deberta_v2_relu': (
    'DebertaV2ForMaskedLM',
    _SECOND | dict(conv_kernel_size=3, conv_act='relu', hidden_act='gelu_new'),
  ),
  'modernbert_relu': (
    'ModernBertForMaskedLM',
    _MODERN | dict(hidden_activation='relu', classifier_activation='silu'),
  ),
  'distilbert_relu': ('DistilBertForMaskedLM', _DISTIL | dict(activation='relu')),
  # Heads with a table of their own.
  'bert_untied': ('BertForMaskedLM', _TINY | _UNTIED),
  'roberta_untied': ('RobertaForMaskedLM', _ROBERTA | _UNTIED),
  'electra_untied': ('ElectraForMaskedLM', _TINY | dict(embedding_size=16) | _UNTIED),
  'deberta_untied': ('DebertaForMaskedLM', _DEBERTA | _UNTIED),
  'deberta_untied_other_head': ('DebertaForMaskedLM', _DEBERTA | dict(legacy=False) | _UNTIED),
  'deberta_v2_untied': ('DebertaV2ForMaskedLM', _SECOND | _UNTIED),
  'modernbert_untied': ('ModernBertForMaskedLM', _MODERN | _UNTIED),
  'distilbert_untied': ('DistilBertForMaskedLM', _DISTIL | _UNTIED),
  # Fine-tuned on other tasks.
  'bert_classifier': ('BertForSequenceClassification', _TINY),
  'bert_answers': ('BertForQuestionAnswering', _TINY),
  'bert_next': ('BertForNextSentencePrediction', _TINY),
  'roberta_labels': ('RobertaForTokenClassification', _ROBERTA),
  'xlm_roberta_classifier': ('XLMRobertaForSequenceClassification', _ROBERTA),
  'bert_labels': ('BertForTokenClassification', _TINY),
  'roberta_answers': ('RobertaForQuestionAnswering', _ROBERTA),
  'xlm_roberta_labels': ('XLMRobertaForTokenClassification', _ROBERTA),
  'camembert_answers': ('CamembertForQuestionAnswering', _ROBERTA),
  'camembert_choice': ('CamembertForMultipleChoice', _ROBERTA),
  'electra_choice': ('ElectraForMultipleChoice', _TINY | dict(embedding_size=16)),
  'deberta_classifier': ('DebertaForSequenceClassification', _DEBERTA),
  'roberta_classifier': ('RobertaForSequenceClassification', _ROBERTA),
  'electra_classifier': ('ElectraForSequenceClassification', _TINY | dict(embedding_size=16)),
  'deberta_v2_classifier': ('DebertaV2ForSequenceClassification', _SECOND),
  'electra_labels': ('ElectraForTokenClassification', _TINY | dict(embedding_size=16)),
  'electra_answers': ('ElectraForQuestionAnswering', _TINY | dict(embedding_size=16)),
  'deberta_labels': ('DebertaForTokenClassification', _DEBERTA),
  'deberta_answers': ('DebertaForQuestionAnswering', _DEBERTA),
  'deberta_v2_labels': ('DebertaV2ForTokenClassification', _SECOND | dict(conv_kernel_size=3)),
  'deberta_v2_answers': ('DebertaV2ForQuestionAnswering', _SECOND),
  'modernbert_classifier': ('ModernBertForSequenceClassification', _MODERN),
  'modernbert_labels': ('ModernBertForTokenClassification', _MODERN | _UNTIED),
  'modernbert_answers': ('ModernBertForQuestionAnswering', _MODERN),
  'distilbert_labels': ('DistilBertForTokenClassification', _DISTIL),
  'distilbert_answers': ('DistilBertForQuestionAnswering', _DISTIL),
  'distilbert_classifier': ('DistilBertForSequenceClassification', _DISTIL),
  # Other padding than the tokenizer's: an id of text, of the first piece, of the last.
  'roberta_pad_0': ('RobertaForMaskedLM', _ROBERTA | dict(pad_token_id=0)),
  'roberta_pad_7': (
    'RobertaForMaskedLM',
    _ROBERTA | dict(pad_token_id=7, max_position_embeddings=48),
  ),
  'camembert_pad_2': ('CamembertModel', _ROBERTA | dict(pad_token_id=2)),
  'xlm_roberta_pad_3': ('XLMRobertaForMaskedLM', _ROBERTA | dict(pad_token_id=3)),
}


def their_model(case, **more):
  """Returns the PyTorch model of a case with random weights, of biases and norms too; `more` is of
  its config.
  """
  name, settings = CASES[case]
  torch.manual_seed(0)
  of = getattr(transformers, name)
  model = of(of.config_class(**settings | more)).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      if parameter.ndim == 1:
        parameter += 0.1 * torch.randn_like(parameter)
  return model


def write(model, folder, **settings):
  model.save_pretrained(folder, **settings)
  # The tokenizer of a RoBERTa pads with 1, whatever its config says.
  is_second = model.config.model_type in ('roberta', 'xlm-roberta', 'camembert')
  builders.write_vocabulary(folder, builders.PAD_SECOND if is_second else builders.NAMES)
  return folder


def rows(pad_id, vocab_size, length=33):
  """Returns (tokens_BL, seen_BL) of one document a row, with padding after it."""
  random, lengths = np.random.default_rng(0), (length, 20, 3, 30)
  tokens_BL = np.full((len(lengths), length), pad_id)
  for b, n in enumerate(lengths):
    tokens_BL[b, :n] = [2, *random.integers(5, vocab_size, n - 2), 3]
  return tokens_BL, np.arange(length)[None] < np.array(lengths)[:, None]


def our_outputs(model, params, tokens_BL, pad_id, size):
  """Returns (hidden_BLD, what the head gives of every position)."""
  starts_BS = np.zeros((len(tokens_BL), 1), np.int32)
  encoded = model.apply(
    params,
    tokens_BL,
    batches.segments(tokens_BL, starts_BS, pad_id),
    batches.positions(starts_BS, tokens_BL.shape[1]),
  )
  B, L, D = encoded.decoded_BLD.shape
  head = np.asarray(model.head(params, encoded.decoded_BLD.reshape(B * L, D)))
  return np.asarray(encoded.hidden_BLD), head.reshape(B, L, -1)[:, :, :size]


def their_outputs(model, tokens_BL, seen_BL):
  """Returns (hidden_BLD, logits or None)."""
  # A choice is one row of several there; here each row is the only one.
  is_choice = 'MultipleChoice' in type(model).__name__
  as_choices = lambda x_BL: torch.tensor(x_BL[:, None] if is_choice else x_BL)
  with torch.no_grad():
    found = model(
      input_ids=as_choices(tokens_BL),
      attention_mask=as_choices(seen_BL.astype(np.int64)),
      output_hidden_states=True,
    )
  return found.hidden_states[-1].numpy(), found.logits.numpy() if 'logits' in found else None


def loaded(auto, folder):
  """Returns the model that an Auto class loads; nothing was missing or left over."""
  model, report = auto.from_pretrained(folder, output_loading_info=True)
  assert not {name: keys for name, keys in report.items() if keys}
  return model.eval()


def assert_back(theirs, folder):
  """Compares the files of two folders."""
  builders.assert_same(builders.read_tensors(folder), builders.read_tensors(theirs))
  assert (folder / 'config.json').read_bytes() == (theirs / 'config.json').read_bytes()
