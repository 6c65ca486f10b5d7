"""Training of the reasoner: examples, traces, phantoms, SFT, GRPO and evaluation."""
