"""The command line, `stc-ops`: one module for each of its commands."""
