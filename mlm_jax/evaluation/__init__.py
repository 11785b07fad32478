"""What a trained encoder is worth, on held-out text under fixed masks.

heldout        loss and accuracy under the reference masks, and under a policy's own
slices         the same by frequency, position, kind of piece and class
segment_scores the same by segment, for intervals over the text
baselines      what a unigram and a bigram model reach on the same tokens
resampling     intervals of a task's scores over its examples
error_tables   where a task's predictions are wrong
bayes_optimal  what the best possible model reaches, where the language is known
"""
