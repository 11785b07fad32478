"""Examples of a task: from the files that hold them to packed rows.

tables              records of .csv, .tsv, .jsonl and .parquet files
classification      texts, or pairs of texts, with labels
segments            the tokens of such an example
similarity          texts, or pairs of texts, with a number
retrieval           queries and documents, from pairs or collections
token_labelling     sentences whose words have tags
tag_schemes         the entities that tags say
words               the tokens of such sentences
question_answering  questions about contexts, with answers that are parts of them
windows             the tokens of a question with each part of its context
store               packed rows on disk
"""
