"""Measurements, and the peers that they compare with. Runs from a clone; no wheel carries it."""
