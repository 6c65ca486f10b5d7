"""The command `cxr-reason`, a module for each of its words."""
