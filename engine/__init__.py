"""Checkpoint → engine artifact → running engine. One folder for each backend."""
