"""Errors of models. The docstring of each class is the sentence that people read.

A sentence says what happened and what to do. It never contains a URL, a key or the provider's own words; only `detail`
may, which is for staff and may repeat what a user wrote.
"""

import inspect
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import ClassVar

#: Providers have sent dates of another year.
MAX_RETRY_AFTER_SECONDS = 3600.0

#: Of what the log says about a failure.
MAX_REASON_CHARACTERS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """What a provider says of the tokens of a request that it refused; 0 where it says nothing."""

    #: The most that it takes: input, or input and output.
    window: int = 0
    #: The most that it lets a model write.
    max_output: int = 0
    input: int = 0
    #: The limit on the answer that it was asked for.
    output: int = 0
    #: Input and output, where it does not tell them apart.
    total: int = 0


class ModelError(Exception):
    """The model could not answer. Send the message again. If that does not help, ask the operator of this server."""

    code: ClassVar[str] = "model_error"

    def __init__(self, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(inspect.cleandoc(self.__doc__ or "").replace("\n", " "))
        self.detail = detail
        if retry_after is not None and math.isnan(retry_after):
            retry_after = None
        #: Seconds to wait, if the provider asked for it.
        self.retry_after = min(max(retry_after, 0.0), MAX_RETRY_AFTER_SECONDS) if retry_after is not None else None


class ModelNotAuthorized(ModelError):
    """The model's provider did not accept this server's key. The operator must set the provider's key, for example
    OPENAI_API_KEY, and restart the workers.
    """

    code = "model_not_authorized"


class ModelNotFound(ModelError):
    """The model's provider does not know this model. The operator must check the name in CODELAB_MODEL."""

    code = "model_not_found"


class ModelRateLimited(ModelError):
    """The model's provider accepts no more requests for now (rate limit or quota). Wait a minute and send the message
    again.
    """

    code = "model_rate_limited"


class ModelQuotaReached(ModelRateLimited):
    """The model's provider accepts no more tokens for now (a quota for a minute, a day or longer). Send a smaller
    request, or wait until the quota is renewed.
    """


class ModelOutOfCredit(ModelError):
    """The account of this server at the model's provider has no credit left. The operator must check its balance and
    its billing.
    """

    code = "model_out_of_credit"


class ModelContextTooLong(ModelError):
    """The conversation has become longer than the model can read. Start a new session or send a shorter message."""

    code = "model_context_too_long"

    def __init__(
        self, detail: str = "", *, retry_after: float | None = None, tokens: TokenCounts | None = None
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        #: What the provider says.
        self.tokens = tokens or TokenCounts()
        #: What is known without its words: an estimate of the input, and the window.
        self.estimate = TokenCounts()

    @property
    def context(self) -> dict[str, int] | None:
        """Return the tokens of the input and the most that the model reads, or None where they are not known."""
        tokens, window = self.tokens, self.tokens.window or self.estimate.window
        used = max(tokens.input, tokens.total) or self.estimate.input
        # Some count the answer that was asked for as well.
        used = used if used > window else used + tokens.output
        return {"used": used, "window": window} if used > window > 0 else None


class ModelRefused(ModelError):
    """The model's provider refused the request because of its content policy, or cannot process it. Change the message
    and send it again.
    """

    code = "model_refused"


class ModelOptionRefused(ModelRefused):
    """The model's provider does not support a field of the request, or its value. Leave it out, or use another
    model.
    """

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: float | None = None,
        fields: frozenset[str] = frozenset(),
        tokens: TokenCounts | None = None,
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        #: Names in OpenAI's words, of those that `llm.wire` knows.
        self.fields = fields
        if fields:
            names = " or ".join(f"`{name}`" for name in sorted(fields))
            text = f"The model's provider does not support {names} in the request, or its value."
            self.args = (f"{text} Leave it out, or use another model.",)
        self.tokens = tokens or TokenCounts()


class ModelSaidNothing(ModelError):
    """The model ended its answer without a word, twice. Send the message again, or put it in other words."""

    code = "model_said_nothing"


class ModelUnavailable(ModelError):
    """The model's provider cannot be reached or has a problem. Send the message again in a moment."""

    code = "model_unavailable"


class ModelTruncated(ModelError):
    """The model's answer was cut off. The part that arrived is kept. Send the message again, or ask the model to
    continue.
    """

    code = "model_truncated"


class ModelStalled(ModelError):
    """The model stopped in the middle of its answer. The part that arrived is kept. Send the message again."""

    code = "model_stalled"


class ModelTimedOut(ModelError):
    """The model did not begin to answer in time. Send the message again."""

    code = "model_timed_out"


class ModelTookTooLong(ModelError):
    """The model's answer took longer than this server allows. The part that arrived is kept. Send a smaller request."""

    code = "model_took_too_long"


class ModelAnswerTooLong(ModelError):
    """The model's answer is longer than this server accepts. The part that arrived is kept. Ask for less at a time."""

    code = "model_answer_too_long"


class ModelAddressRefused(ModelError):
    """The address for the model is not allowed. Use a public https address of an OpenAI-compatible server, or ask the
    operator of this server to allow private ones.
    """

    code = "model_address_refused"


class ModelBrokenToolCall(ModelError):
    """The model sent a tool call that cannot be read, so nothing was run. Send the message again."""

    code = "model_broken_tool_call"


#: The errors for a provider's HTTP status. All other 4xx are ModelRefused, and the rest is ModelUnavailable.
ERRORS_BY_STATUS: dict[int, type[ModelError]] = {
    401: ModelNotAuthorized,
    402: ModelOutOfCredit,
    403: ModelNotAuthorized,
    404: ModelNotFound,
    408: ModelTimedOut,
    # A conflict, a lock and a model that is being loaded pass.
    409: ModelUnavailable,
    413: ModelContextTooLong,
    423: ModelUnavailable,
    425: ModelUnavailable,
    429: ModelRateLimited,
    # A server that never does this.
    501: ModelRefused,
    505: ModelRefused,
}


def error_of_status(status: int) -> type[ModelError]:
    """Return the error for a provider's HTTP status."""
    return ERRORS_BY_STATUS.get(status, ModelRefused if 400 <= status < 500 else ModelUnavailable)


def short_reason(detail: str) -> str:
    """Return the part of a detail that is safe in logs: a status or the name of an error, before the first colon."""
    return detail.partition(":")[0][:MAX_REASON_CHARACTERS]


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a provider asks to wait, or None without a readable value."""
    with suppress(KeyError, ValueError):
        return float(headers["retry-after-ms"]) / 1000
    text = headers.get("retry-after", "")
    with suppress(ValueError):
        return float(text)
    with suppress(ValueError):
        at = parsedate_to_datetime(text)
        return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None
