"""Bounds held against tokenizers: `python -m tests.bounds` says how far above the truth they are."""
