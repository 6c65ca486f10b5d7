"""The `reference` backend: transformers itself. Slow, plain, and the oracle of the others."""
