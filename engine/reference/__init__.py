"""The `reference` backend: transformers itself. Slow; the others are compared with it."""
