"""Settings of the data: of text that is trained on, and of examples."""

import ml_collections

from mlm_jax.config.keys import Config


def text() -> Config:
  """Where the text is from, how it is cleaned, cut into pieces and packed."""
  data = ml_collections.ConfigDict()
  # text:GLOB, conllu:GLOB, tfds:NAME, hf:FOLDER or hf:NAME of the hub, synthetic:STATES/WORDS or
  # pydocs; several are joined by commas (see data/corpus/sources.py)
  data.source = 'pydocs'
  # shares of the rows drawn, one per source; () = by size
  data.weights = ()
  # without weights: shares are proportional to size to this power; 1 = all rows are shuffled
  # together, .3 lifts small languages
  data.sampling_alpha = 1.0
  # the field or column of a record that holds its text
  data.field = 'text'
  # what a document is: file (or .jsonl record), lines, blocks or regex
  data.document = 'file'
  # blocks: paragraphs are joined until they have this many characters
  data.block_characters = 2000
  # regex: documents are the text between its matches
  data.document_regex = ''
  data.update(_cleaning())
  # shorter documents are dropped
  data.min_characters = 1
  # longer documents are dropped; 0 = no limit
  data.max_characters = 0
  # documents that repeat a larger share of themselves are dropped; 1 = off (see
  # data/corpus/clean.py)
  data.max_repetition = 1.0
  # documents with a larger share of symbols are dropped; 1 = off (see data/corpus/clean.py)
  data.max_symbols = 1.0
  # drop exact duplicates, compared after cleaning
  data.drop_duplicates = True
  # a training document at least this similar to another is dropped; 0 = off (see
  # data/corpus/near_duplicates.py)
  data.near_duplicates = 0.0
  # share of the documents kept for evaluation
  data.validation_fraction = 0.01
  # unigram, bpe, word, wordpiece, byte_bpe, or the path of a SentencePiece model or a
  # tokenizer.json; '' = that of the run in init_from, with its four settings of cleaning: unicode,
  # control_characters, boundary_mark and white_space
  data.tokenizer = 'unigram'
  # pieces of a trained tokenizer; that of a path has its own number
  data.vocab_size = 8192
  # characters of the sample that the tokenizer is trained on
  data.tokenizer_characters = 20_000_000
  # of the training of the tokenizer; fixed, since another number gives other pieces
  data.tokenizer_threads = 2
  # tokens per row
  data.row_length = 128
  # documents per row at most
  data.max_segments = 8
  # how documents fill rows: best_fit (cuts only those longer than a row) or contiguous (keeps their
  # order, and cuts)
  data.packing = 'best_fit'
  # entries of the vocabulary of collocations, made of the training text; 0 = none (see
  # data/annotations/collocations.py)
  data.collocations = 0
  # classes of words: conllu (parts of speech, from a conllu: source) or module:function of yours;
  # '' = none (see data/annotations/word_classes.py)
  data.classes = ''
  # pairs of sentences in place of documents: nsp (the second part follows the first, or is from
  # another document) or sop (the second follows the first, or the two are swapped); '' = none (see
  # data/annotations/sentence_pairs.py)
  data.pairs = ''
  # folder of the prepared data; '' = WORKDIR/data
  data.prepared = ''
  return data


def examples() -> Config:
  """How the texts of examples become rows, of fine-tuning."""
  data = ml_collections.ConfigDict()
  # of the run in init_from: path of its tokenizer; '' = taken from there, with the cleaning
  data.tokenizer = ''
  data.update(_cleaning())
  # threads of the tokenizer
  data.tokenizer_threads = 2
  # tokens per row; longer examples are cut, and counted
  data.row_length = 128
  # examples per row at most; attention stays inside each
  data.max_segments = 16
  # folder of the prepared examples; '' = WORKDIR/data
  data.prepared = ''
  return data


def _cleaning() -> Config:
  """What prepares a text before it is cut into pieces."""
  data = ml_collections.ConfigDict()
  # cleaning: the normal form of characters, NFC, NFKC or none
  data.unicode = 'NFC'
  # cleaning: remove or keep
  data.control_characters = 'remove'
  # cleaning: of U+2581, which stands for a space in pieces: replace (by an underscore) or keep
  data.boundary_mark = 'replace'
  # cleaning: collapse (every run becomes one space) or keep
  data.white_space = 'collapse'
  return data
