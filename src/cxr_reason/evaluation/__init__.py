"""Measures a checkpoint, an engine or a server on films with known labels: `docs/evaluation.md`."""
