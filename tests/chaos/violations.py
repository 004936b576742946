"""The kinds of violations of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A broken promise."""

    kind: str
    session: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.session}: {self.text}"


#: Each kind, and its text in the table.
KINDS = {
    "lost": "accepted messages lost",
    "doubled": "accepted messages doubled or changed",
    "open": "turns without an end 60 s after the last fault",
    "ends": "turns with two ends, or a wrong one",
    "gap": "events missing at a client or in the log",
    "repeated": "events repeated at a client",
    "reordered": "events out of order at a client",
    "different": "events that differ between clients, log and replay",
    "text": "texts that are not what the provider said",
    "stored": "stored texts that are not what was shown",
    "tool": "tool calls run twice, or never",
    "stale": "writes of an attempt that had lost its turn",
    "after_end": "events of a turn after its end",
    "retried": "model calls without an attempt of their own",
    "early": "turns that went on before their provider's time",
    "crashed": "turns and frames that ended in an internal error",
}
