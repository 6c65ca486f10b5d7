"""Kernels of the vision path: each folder has one public op, its reference and its derivation."""
