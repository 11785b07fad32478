"""Weights and tokenizers of the Hugging Face ecosystem, both ways."""
