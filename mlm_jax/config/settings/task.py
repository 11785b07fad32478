"""Settings of the tasks that an encoder is fine-tuned for."""

import ml_collections

from mlm_jax.config.keys import Config


def task() -> Config:
  """What is learned from examples, of fine-tuning."""
  task = ml_collections.ConfigDict()
  # classification, token_labelling, question_answering, similarity or retrieval (the files of
  # mlm_jax/downstream)
  task.name = 'classification'
  # file of the examples that are trained on: .csv, .tsv, .jsonl or .parquet; of token labelling
  # also .conllu, and CoNLL columns under any other name; of question answering .json, as of SQuAD;
  # of retrieval also a folder with a collection of BEIR or SMART
  task.train = ''
  # file of those that choose the checkpoint and end the training; '' = a share of task.train
  task.validation = ''
  # share of task.train that is kept for it
  task.validation_fraction = 0.1
  # file of those that are scored once, at the end; '' = none
  task.test = ''
  # column of the text: a name, or a number from 0 in a file without a header
  task.text = 'text'
  # column of a second text, for pairs; '' = single texts
  task.second_text = ''
  # column of the label
  task.label = 'label'
  # names of the labels, in their order; () = those of task.train, sorted
  task.labels = ()
  # an example may have several labels, or none: a list, or a text with commas
  task.multilabel = False
  # weights of the labels in the loss, in their order; () = 1 each
  task.class_weights = ()
  # share of the target that is spread over all labels
  task.label_smoothing = 0.0
  # the vector of a text, what the head reads: cls (the first token) or mean (of all tokens)
  task.pooling = 'cls'
  # the encoder's parameters are drawn anew: the baseline of what its training is worth
  task.from_scratch = False
  # parameters that stay as they are: regular expressions over their paths, such as
  # ('(?!task/).*',) for all but the head; () = none
  task.freeze = ()
  task.lora = _lora()
  task.token_labelling = _token_labelling()
  task.question_answering = _question_answering()
  task.similarity = _similarity()
  task.retrieval = _retrieval()
  return task


def _lora() -> Config:
  """Low-rank adapters (LoRA): the encoder stays as it is but for sums of small matrices."""
  lora = ml_collections.ConfigDict()
  # rank of what is added to a kernel; 0 = the kernels themselves are trained
  lora.rank = 0
  # alpha / rank is its factor
  lora.alpha = 16.0
  # kernels that have adapters: regular expressions over their paths, such as ('layers/.*',) for
  # all of the layers
  lora.rules = (r'.*attention/(query|value)/kernel',)
  return lora


def _token_labelling() -> Config:
  """For token labelling only: where words and tags are, and what tags mean."""
  labelling = ml_collections.ConfigDict()
  # iob2, iob1, bioes or bilou of entities, or plain, of one class a word (see
  # data/examples/tag_schemes.py)
  labelling.scheme = 'iob2'
  # CoNLL columns, counted from 0: that of the words
  labelling.token_column = 0
  # CoNLL columns: that of the tags; -1 = the last
  labelling.tag_column = -1
  # CoNLL-U: the tags are upos, universal parts of speech, or xpos, the language's own
  labelling.conllu = 'upos'
  # .jsonl and .parquet: what holds the list of words
  labelling.tokens = 'tokens'
  # .jsonl and .parquet: what holds the list of tags
  labelling.tags = 'tags'
  return labelling


def _question_answering() -> Config:
  """For question answering only: how contexts are read, and which answers are considered."""
  answering = ml_collections.ConfigDict()
  # pieces that two windows over one context share; an answer that is longer may be in none
  answering.stride = 32
  # longer questions are cut, and counted
  answering.max_question_pieces = 64
  # the longest answer that is predicted, in pieces
  answering.max_answer_pieces = 30
  # answers of a question that are told apart; their probabilities add up to 1
  answering.n_best = 20
  return answering


def _similarity() -> Config:
  """For similarity and regression only."""
  similarity = ml_collections.ConfigDict()
  # cross: a text or a pair is read as one, and a number is predicted from it; bi: the texts of a
  # pair are read each alone, in at most half a row, and the cosine of their vectors is learned
  similarity.encoder = 'cross'
  # column of the number that is learned
  similarity.score = 'score'
  return similarity


def _retrieval() -> Config:
  """For retrieval only: files are of pairs, or folders of BEIR or SMART collections."""
  retrieval = ml_collections.ConfigDict()
  # what is trained on: labelled pairs; or without labels dropout, two views of each document, or
  # inverse_cloze, each sentence of a document beside the rest of it
  retrieval.pairs = 'labelled'
  # files of pairs: column of the query
  retrieval.query = 'query'
  # files of pairs: column of a document that answers it
  retrieval.positive = 'positive'
  # files of pairs: column of a document that does not, or of a list of such
  retrieval.negative = 'negative'
  # how many of these a pair is trained with at most; where it is 0 the column is not read
  retrieval.negatives = 0
  # share of the queries that is kept for test where one file or folder is both task.train and
  # task.test, and has not judgements of its own for each
  retrieval.test_fraction = 0.3
  # what is put before each query, such as 'query: '
  retrieval.query_prompt = ''
  # what is put before each document, such as 'passage: '
  retrieval.document_prompt = ''
  # tokens of a query at most, its prompt, [CLS] and [SEP] among them; the rest is cut
  retrieval.max_query_tokens = 32
  # likewise of a document; a row holds a query, its document and its negatives
  retrieval.max_document_tokens = 96
  # cosines are divided by it in the loss
  retrieval.temperature = 0.05
  # it is a parameter, and begins with that
  retrieval.learn_temperature = False
  # Matryoshka: so many first numbers of a vector are a vector too, such as (64, 128, 256), and the
  # losses of all are added up; () = the whole vector alone
  retrieval.dimensions = ()
  return retrieval
