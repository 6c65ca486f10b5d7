"""The command `cxr-reason`, a module for each subcommand."""
