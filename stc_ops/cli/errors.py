"""What a command reports to its user instead of a traceback."""


class CommandError(Exception):
    """A command cannot do what was asked; the message says why, in one line."""
