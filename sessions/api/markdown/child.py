"""The process that parses: reads requests from its input, one a line, and answers each with a line.

It ends with its input. A text that takes too much processor time kills it: regular expressions of lexers cannot be
interrupted in any other way.
"""

import json
import resource
import signal
import sys

from sessions.api.markdown.documents import render

#: Processor time for one text, which a busy machine does not shorten.
MAX_SECONDS = 1.0
MAX_MEMORY_BYTES = 512 * 1024 * 1024


def main() -> None:
    """Answer requests until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    for line in sys.stdin.buffer:
        request = json.loads(line)
        # Its default action ends the process.
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
        try:
            document = render(request["text"], is_open=request["open"], is_highlighted=request["highlight"])
            answer = json.dumps({"blocks": document.blocks, "length": document.length}, separators=(",", ":"))
        except (ValueError, IndexError, KeyError, RecursionError, MemoryError):
            # The parser has met a text that it was not made for; the page shows it as it is.
            answer = "null"
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(answer.encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
