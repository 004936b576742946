"""What programs, their subcommands and options do, for `agents.hazards`. What is missing here is only unknown."""


def words(*lines: str) -> frozenset[str]:
    """Return the words of some lines: a table is easier to read so than as a list with one word to a line."""
    return frozenset(word for line in lines for word in line.split())
