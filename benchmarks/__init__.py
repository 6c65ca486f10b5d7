"""Measurements, and the peers that they compare with. For clones: not part of the wheel."""
