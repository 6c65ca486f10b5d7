"""`python -m cxr_reason`: the same as the command, for launchers that start a module."""

from cxr_reason.cli.main import main

if __name__ == "__main__":
    main()
