"""What can go wrong with a model. The docstring of each class is the sentence that people read.

A sentence says what happened and what to do; it never holds a URL, a key or the provider's own words. Those may stand
in `detail`, which is for the log of the worker alone.
"""

from __future__ import annotations

import inspect
from typing import ClassVar


class ModelError(Exception):
    """The model could not answer. Send the message again; if that does not help, ask the operator of this server."""

    code: ClassVar[str] = "model_error"

    def __init__(self, detail: str = "") -> None:
        super().__init__(inspect.cleandoc(self.__doc__ or "").replace("\n", " "))
        self.detail = detail


class ModelNotAuthorized(ModelError):
    """The model's provider did not accept this server's key. The operator has to set the provider's key, for example
    OPENAI_API_KEY, and restart the workers.
    """

    code = "model_not_authorized"


class ModelNotFound(ModelError):
    """The model's provider does not know this model. The operator has to check the name in CODELAB_MODEL."""

    code = "model_not_found"


class ModelRateLimited(ModelError):
    """The model's provider takes no more requests for now (rate limit or quota). Wait a minute and send the message
    again.
    """

    code = "model_rate_limited"


class ModelContextTooLong(ModelError):
    """The conversation has become longer than the model can read. Start a new session or send a shorter message."""

    code = "model_context_too_long"


class ModelRefused(ModelError):
    """The model's provider refused the request, by its content policy or because it cannot process it. Change the
    message and send it again.
    """

    code = "model_refused"


class ModelUnavailable(ModelError):
    """The model's provider cannot be reached or reports a fault of its own. Send the message again in a moment."""

    code = "model_unavailable"


class ModelTruncated(ModelError):
    """The model's answer was cut off before its end; what arrived is kept. Send the message again or ask the model to
    go on.
    """

    code = "model_truncated"


class ModelStalled(ModelError):
    """The model fell silent in the middle of its answer; what arrived is kept. Send the message again."""

    code = "model_stalled"


class ModelTimedOut(ModelError):
    """The model did not begin to answer in time. Send the message again."""

    code = "model_timed_out"


class ModelBrokenToolCall(ModelError):
    """The model asked for a tool in a form that cannot be read, so nothing was run. Send the message again."""

    code = "model_broken_tool_call"
