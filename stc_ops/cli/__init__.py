"""The command line: `stc-ops run`, `stc-ops config`; one module per subcommand."""
