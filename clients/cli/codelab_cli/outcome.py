"""What came of a tool call, and how a tool says that it could not do what was asked."""

from dataclasses import dataclass
from typing import Any


class ToolFailed(Exception):
    """The tool did not do what was asked; the message is for the model, which corrects itself by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to a call: `result` or `parts`, or an `error`."""

    result: Any = None
    parts: tuple[dict[str, Any], ...] | None = None
    error: str | None = None
    is_error: bool = False
    #: The client was killed while the tool ran, so it may have had an effect.
    is_unknown: bool = False

    def fields(self) -> dict[str, Any]:
        """Return the fields of a `tool_result` frame."""
        if self.error is not None:
            return {"error": self.error, "is_error": True}
        answer: dict[str, Any] = {"result": self.result} if self.parts is None else {"parts": list(self.parts)}
        return answer | ({"is_error": True} if self.is_error else {})
