"""Checkpoint → engine artifact → running engine. One folder a backend."""
