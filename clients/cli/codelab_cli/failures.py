"""What can go wrong in a command: a sentence, what to do next, and an exit code. No traceback reaches a user."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with. Stable: scripts and CI jobs rely on it (docs/cli.md)."""

    DONE = 0
    #: The turn failed, or the server refused the request.
    FAILED = 1
    #: An option, an argument or the configuration is wrong. Also the code of the option parser.
    USAGE = 2
    #: The turn ended, but a question had no one to answer it: an approval, a plan, a question of the model.
    UNANSWERED = 3
    NOT_SIGNED_IN = 4
    UNREACHABLE = 5
    TIMED_OUT = 6
    INTERRUPTED = 130


class Failure(Exception):
    """A command cannot go on. `sentence` says what happened, `advice` what to do next."""

    def __init__(self, sentence: str, advice: str = "", *, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(f"{sentence} {advice}".strip())
        self.sentence, self.advice, self.code = sentence, advice, code
