"""What a model wrote about a film → a `Reading` that a person can audit."""
