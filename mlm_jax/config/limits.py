"""What each setting may be, whatever the other settings are, and which settings read which.

Tables only; `checks` applies them. A new setting gets its line here and its meaning in `settings`.
"""

import pathlib

# A family is a file of this folder. Listed and not imported: config must not import models.
_FAMILIES = pathlib.Path(__file__).parents[1] / 'models' / 'families'

# As models/layers.py has them.
_ACTIVATIONS = ('gelu', 'gelu_tanh', 'relu', 'silu', 'tanh')

# A kind of fine-tuning is a file of this folder, listed for the same reason.
_KINDS = pathlib.Path(__file__).parents[1] / 'downstream'
_FINETUNING = tuple(sorted(path.stem for path in _KINDS.glob('[!_]*.py')))

# What `data.tokenizer` trains; any other text is the path of a file.
TOKENIZERS = ('unigram', 'bpe', 'word', 'wordpiece', 'byte_bpe')
# The allowed texts. An optimizer and so on is added here and where it is made.
CHOICES: dict[str, tuple[str, ...]] = {
  'compilation_cache': ('', 'user'),
  'data.document': ('file', 'lines', 'blocks', 'regex'),
  'data.unicode': ('NFC', 'NFKC', 'none'),
  'data.control_characters': ('remove', 'keep'),
  'data.boundary_mark': ('replace', 'keep'),
  'data.white_space': ('collapse', 'keep'),
  'data.packing': ('best_fit', 'contiguous'),
  'data.pairs': ('', 'nsp', 'sop'),
  'task.name': _FINETUNING,
  'task.pooling': ('cls', 'mean'),
  'task.token_labelling.scheme': ('iob2', 'iob1', 'bioes', 'bilou', 'plain'),
  'task.token_labelling.conllu': ('upos', 'xpos'),
  'task.similarity.encoder': ('cross', 'bi'),
  'task.retrieval.pairs': ('labelled', 'dropout', 'inverse_cloze'),
  'masking.span_of': ('word', 'token'),
  'masking.span_length_distribution': ('geometric', 'uniform', 'harmonic'),
  'masking.sampling': ('fixed_count', 'bernoulli'),
  'masking.corruption_per': ('unit', 'token'),
  'masking.replacement_distribution': ('uniform', 'frequency'),
  'model.family': ('', *sorted(path.stem for path in _FAMILIES.glob('[!_]*.py'))),
  'model.deberta.projections': ('', 'shared', 'own'),
  'model.deberta.relative_norm': ('', 'none', 'layer_norm'),
  'model.activation': _ACTIVATIONS,
  'model.head_activation': ('', *_ACTIVATIONS),
  'model.deberta.convolution_act': _ACTIVATIONS,
  'model.deberta.decoder': ('plain', 'enhanced'),
  'model.init': ('normal', 'neighbours'),
  'model.dtype': ('float32', 'bfloat16'),
  'objective.name': ('masked', 'rtd'),
  'objective.sharing': ('tied', 'none', 'gdes'),
  'optim.name': ('adamw', 'lamb', 'stable_adamw'),
  'optim.schedule': ('linear', 'cosine', 'polynomial', 'one_minus_sqrt', 'constant'),
}
# What `log.trackers` names; each is a file of training/trackers.
TRACKERS = ('tensorboard', 'wandb', 'trackio')
# The least number. 0 and -1 mostly mean "off" or "the family's own", as `settings` says.
AT_LEAST: dict[str, float] = {
  'batch_size': 1,
  'grad_accumulation_steps': 1,
  'total_steps': 0,
  'epochs': 0,
  'data.block_characters': 1,
  'data.min_characters': 1,
  'data.max_characters': 0,
  'data.vocab_size': 300,
  'data.tokenizer_characters': 1000,
  'data.tokenizer_threads': 1,
  'data.row_length': 8,
  'data.max_segments': 1,
  'masking.static_copies': 0,
  'masking.span_max': 1,
  'masking.frequency_power': 0,
  'masking.rate_power': 0.1,
  'data.collocations': 0,
  'task.lora.rank': 0,
  'task.question_answering.stride': 0,
  'task.question_answering.max_question_pieces': 1,
  'task.question_answering.max_answer_pieces': 1,
  'task.question_answering.n_best': 1,
  'task.retrieval.negatives': 0,
  'task.retrieval.max_query_tokens': 3,
  'task.retrieval.max_document_tokens': 3,
  'model.layers': 0,
  'model.width': 0,
  'model.heads': 0,
  'model.feed_forward': 0,
  'model.max_positions': 1,
  'model.head_rows': 0,
  'model.vocab_size': 0,
  'model.embedding_width': 0,
  'model.types': -1,
  'model.position_offset': -1,
  'model.uncounted_id': -1,
  'model.norm_epsilon': 0,
  'model.deberta.span': 0,
  'model.deberta.buckets': -1,
  'model.deberta.convolution': -1,
  'model.modernbert.window': 2,
  'model.modernbert.global_every': 1,
  'task.token_labelling.token_column': 0,
  'task.token_labelling.tag_column': -1,
  'objective.pairs_weight': 0,
  'objective.sbo_weight': 0,
  'optim.warmup_steps': 0,
  'optim.decay_steps': 0,
  'optim.weight_decay': 0,
  'optim.clip_norm': 0,
  'optim.max_consecutive_nonfinite': 1,
  'evaluation.every': 0,
  'evaluation.rows': 0,
  'evaluation.batch_size': 1,
  'evaluation.patience': 0,
  'evaluation.min_delta': 0,
  'checkpoint.every': 0,
  'adapt.allowance': 0,
  'adapt.new_pieces': 0,
  'checkpoint.keep_latest': 1,
  'checkpoint.keep_best': 0,
  'log.every': 1,
  'log.spike': 0,
  'mesh.devices': 0,
  'mesh.data': 0,
  'mesh.fsdp': 1,
  'mesh.tensor': 1,
}
_STEPS = (1 << 31) - 1  # what a step counter of 32 bits can count
FLOAT32 = 3e38  # what becomes no infinity on a device
# The largest number: far beyond any published one, so that a slip of the keyboard is an error of
# one line, and no table fills the memory. All numbers are here or in FRACTIONS, but for the seed.
AT_MOST: dict[str, float] = {
  **dict.fromkeys(('batch_size', 'evaluation.batch_size', 'grad_accumulation_steps'), 1 << 20),
  **dict.fromkeys(
    (
      'total_steps',
      'evaluation.every',
      'evaluation.patience',
      'evaluation.rows',
      'checkpoint.every',
      'checkpoint.keep_best',
      'checkpoint.keep_latest',
      'log.every',
      'optim.warmup_steps',
      'optim.decay_steps',
      'optim.max_consecutive_nonfinite',
    ),
    _STEPS,
  ),
  **dict.fromkeys(('data.block_characters', 'data.min_characters', 'data.max_characters'), 1 << 27),
  'adapt.new_pieces': 1 << 20,
  'epochs': 1 << 20,
  'data.collocations': 1 << 24,
  'data.max_segments': 1 << 20,
  'data.row_length': 1 << 20,
  'data.tokenizer_characters': 1 << 34,
  'data.tokenizer_threads': 1 << 10,
  'data.vocab_size': 1 << 24,
  'masking.frequency_power': 100,
  'masking.rate_power': 100,
  'masking.span_max': 1 << 12,
  'masking.static_copies': 1 << 20,
  **dict.fromkeys(('mesh.data', 'mesh.devices', 'mesh.fsdp', 'mesh.tensor'), 1 << 20),
  **dict.fromkeys(
    (
      'task.question_answering.stride',
      'task.question_answering.max_question_pieces',
      'task.question_answering.max_answer_pieces',
      'task.retrieval.max_query_tokens',
      'task.retrieval.max_document_tokens',
    ),
    1 << 20,
  ),
  'task.lora.rank': 1 << 12,
  'task.lora.alpha': 1 << 20,
  'task.question_answering.n_best': 1 << 10,
  'task.retrieval.negatives': 1 << 10,
  'task.retrieval.temperature': 100,
  'model.attention_dropout': 1,
  'model.deberta.buckets': 1 << 20,
  'model.deberta.convolution': 1 << 10,
  'model.deberta.span': 1 << 20,
  'model.embedding_width': 1 << 16,
  'model.feed_forward': 1 << 18,
  'model.head_rows': 1 << 20,
  'model.heads': 1 << 12,
  'model.init_std': 100,
  'model.layers': 1 << 10,
  'model.max_positions': 1 << 20,
  'model.modernbert.global_every': 1 << 10,
  'model.modernbert.global_theta': 1e12,
  'model.modernbert.local_theta': 1e12,
  'model.modernbert.window': 1 << 20,
  'model.norm_epsilon': 1,
  'model.position_offset': 1 << 20,
  'model.types': 1 << 16,
  'model.uncounted_id': 1 << 24,
  'model.vocab_size': 1 << 24,
  'model.width': 1 << 16,
  'task.token_labelling.token_column': 1 << 10,
  'task.token_labelling.tag_column': 1 << 10,
  'objective.generator_layers': 100,
  'objective.generator_width': 100,
  **dict.fromkeys(
    (
      'adapt.allowance',
      'evaluation.min_delta',
      'log.spike',
      'objective.masked_weight',
      'objective.pairs_weight',
      'objective.rtd_weight',
      'objective.sbo_weight',
      'optim.clip_norm',
      'optim.epsilon',
      'optim.generator_lr_multiplier',
      'optim.learning_rate',
      'optim.power',
      'optim.weight_decay',
    ),
    FLOAT32,
  ),
}
# Numbers that must be positive.
ABOVE_0 = (
  'masking.span_p',
  'masking.predict_fraction',
  'model.init_std',
  'model.modernbert.global_theta',
  'model.modernbert.local_theta',
  'data.validation_fraction',
  'task.validation_fraction',
  'task.retrieval.test_fraction',
  'task.retrieval.temperature',
  'task.lora.alpha',
  'optim.learning_rate',
  'optim.epsilon',
  'optim.power',
  'optim.layerwise_lr_decay',
  'optim.generator_lr_multiplier',
  'objective.masked_weight',
  'objective.rtd_weight',
  'objective.generator_layers',
  'objective.generator_width',
)
# Fractions that must not be 1: nothing would be left to train on, or to average over.
BELOW_1 = (
  'adapt.replay',
  'data.validation_fraction',
  'optim.beta1',
  'optim.beta2',
  'task.validation_fraction',
  'task.retrieval.test_fraction',
)
# Settings read only under some choices of another: (the setting, the other, those choices).
READ_WITH = (
  ('masking.span_p', 'masking.span_length_distribution', ('geometric',)),
  ('optim.power', 'optim.schedule', ('polynomial',)),
  *(
    (f'task.question_answering.{key}', 'task.name', ('question_answering',))
    for key in ('stride', 'max_question_pieces', 'max_answer_pieces', 'n_best')
  ),
  *(
    (f'objective.{key}', 'objective.name', ('masked',))
    for key in ('predict_all', 'pairs_weight', 'sbo_weight')
  ),
  *(
    (f'task.{key}', 'task.name', ('classification', 'question_answering', 'similarity'))
    for key in ('text', 'second_text')
  ),
  *((f'task.{key}', 'task.name', ('classification',)) for key in ('label', 'multilabel')),
  ('task.pooling', 'task.name', ('classification', 'similarity', 'retrieval')),
  *(
    (f'task.{key}', 'task.name', ('classification', 'token_labelling'))
    for key in ('labels', 'class_weights', 'label_smoothing')
  ),
  *((f'task.similarity.{key}', 'task.name', ('similarity',)) for key in ('encoder', 'score')),
  *(
    (f'task.retrieval.{key}', 'task.name', ('retrieval',))
    for key in (
      *('pairs', 'query', 'positive', 'negative', 'negatives', 'test_fraction'),
      *('query_prompt', 'document_prompt', 'max_query_tokens', 'max_document_tokens'),
      *('temperature', 'learn_temperature', 'dimensions'),
    )
  ),
  *(
    (f'task.token_labelling.{key}', 'task.name', ('token_labelling',))
    for key in ('scheme', 'token_column', 'tag_column', 'conllu', 'tokens', 'tags')
  ),
  *(
    (key, 'objective.name', ('rtd',))
    for key in (
      'objective.rtd_weight',
      'objective.sharing',
      'objective.generator_layers',
      'objective.generator_width',
      'optim.generator_lr_multiplier',
      'optim.clip_separately',
    )
  ),
)
# Numbers from 0 to 1.
FRACTIONS = (
  'warmup_fraction',
  'task.label_smoothing',
  'masking.rate',
  'masking.final_rate',
  'masking.mean_rate',
  'masking.span_p',
  'masking.function_weight',
  'masking.predict_fraction',
  'model.dropout',
  'model.modernbert.embedding_dropout',
  'model.modernbert.mlp_dropout',
  'optim.final_lr_ratio',
  'optim.layerwise_lr_decay',
  'data.sampling_alpha',
  'data.max_repetition',
  'data.max_symbols',
  'data.near_duplicates',
  *BELOW_1,
)

# Drawn in 8 bits: more than 255/256 rounds to 1.
DROPOUTS = tuple(key for key in FRACTIONS if key.endswith('dropout')) + ('model.attention_dropout',)

# What the data must be prepared with for some choices of masking.
PREPARED: dict[str, str] = {
  'collocations': 'above 0, such as 20000 for 10 million words',
  'classes': "'conllu' or module:function",
}
