"""A film: encoded bytes → stored pixels, their display table, and attributes."""
