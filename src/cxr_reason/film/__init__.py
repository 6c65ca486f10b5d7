"""A film: encoded bytes → stored pixels, their display table, and what is known of them."""
