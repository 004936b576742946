"""Reads what providers answer instead of an answer: an error in any of the forms that are in use, and its kind."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llm import errors
from llm.errors import ModelError
from llm.wire import token_counts, wordings

#: Of each text: what is longer repeats what the user wrote.
MAX_TEXT_CHARACTERS = 2_000
#: Of an error: texts, fields of an object, items of a list, levels. Gateways wrap the error of another provider.
MAX_TEXTS, MAX_FIELDS, MAX_ITEMS, MAX_DEPTH = 8, 40, 8, 6

#: Fields with words, or with another error. No others are read: some servers send back the request.
_TEXT_FIELDS = frozenset(
    {"error", "errors", "message", "msg", "detail", "details", "raw", "error_description", "description", "reason"}
    | {"title", "status_msg", "error_msg", "errormessage", "metadata", "innererror", "inner_error", "base_resp"}
    | {"response", "upstream_error", "cause", "fields", "validation_errors"}
)
_CODE_FIELDS = frozenset(
    {"code", "type", "status", "__type", "status_code", "statuscode", "error_code", "errorcode", "error", "reason"}
)
_WINDOW_FIELDS, _INPUT_FIELDS = frozenset({"n_ctx", "max_model_len"}), frozenset({"n_prompt_tokens"})

#: Codes that say more than the words beside them.
KINDS_OF_CODES: dict[str, type[ModelError]] = {
    "context_length_exceeded": errors.ModelContextTooLong,
    "context_window_exceeded": errors.ModelContextTooLong,
    "model_context_window_exceeded": errors.ModelContextTooLong,
    "exceed_context_size_error": errors.ModelContextTooLong,
    "model_max_prompt_tokens_exceeded": errors.ModelContextTooLong,
    "insufficient_quota": errors.ModelOutOfCredit,
    "insufficient_user_quota": errors.ModelOutOfCredit,
    "insufficient_balance": errors.ModelOutOfCredit,
    "billing_hard_limit_reached": errors.ModelOutOfCredit,
    "billing_not_active": errors.ModelOutOfCredit,
    "billing_error": errors.ModelOutOfCredit,
    "arrearage": errors.ModelOutOfCredit,
    "content_filter": errors.ModelRefused,
    "content_policy_violation": errors.ModelRefused,
    "responsibleaipolicyviolation": errors.ModelRefused,
    "data_inspection_failed": errors.ModelRefused,
}
#: For errors without a status of their own.
STATUS_OF_CODE = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "validationexception": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "authentication_error": 401,
    "authenticationerror": 401,
    "unauthenticated": 401,
    "invalid_api_key": 401,
    "unrecognizedclientexception": 401,
    "expiredtokenexception": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "permissiondeniederror": 403,
    "accessdeniedexception": 403,
    "not_found": 404,
    "not_found_error": 404,
    "notfounderror": 404,
    "model_not_found": 404,
    "deploymentnotfound": 404,
    "resourcenotfoundexception": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "ratelimiterror": 429,
    "resource_exhausted": 429,
    "throttlingexception": 429,
    "too_many_requests": 429,
    "servicequotaexceededexception": 429,
    "not_supported_error": 501,
    "unimplemented": 501,
    "overloaded_error": 529,
}
_RETRY_PATTERN = re.compile(
    r"(?:try again|retry|wait|retrydelay)\W{1,3}(?:in |after |for )?(?:(\d+)m(?!s))? ?(\d+(?:\.\d+)?)? ?(ms|s|second)?",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Refusal:
    """What an error says, wherever it says it."""

    texts: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    fields: set[str] = field(default_factory=set)
    status: int = 0
    window: int = 0
    input: int = 0

    def read(self, value: Any, depth: int = 0) -> None:
        """Add the words, codes and numbers of an error."""
        if depth > MAX_DEPTH or len(self.texts) >= MAX_TEXTS:
            return
        match value:
            case str():
                self._read_text(value, depth)
            case list():
                for item in value[:MAX_ITEMS]:
                    self.read(item, depth + 1)
            case dict():
                for name, item in list(value.items())[:MAX_FIELDS]:
                    self._read_field(str(name).lower(), item, depth)

    def _read_text(self, text: str, depth: int) -> None:
        stripped = text.strip()
        if stripped[:1] in ("{", "["):
            # OpenRouter's `metadata.raw`, and gateways that put the provider's body into their message.
            try:
                self.read(json.loads(stripped), depth + 1)
            except (ValueError, RecursionError):
                pass
            else:
                return
        if stripped:
            self.texts.append(stripped[:MAX_TEXT_CHARACTERS])

    def _read_field(self, name: str, value: Any, depth: int) -> None:
        if name in _CODE_FIELDS and isinstance(value, str | int | float) and not isinstance(value, bool):
            self._read_code(value)
        if name in _TEXT_FIELDS:
            self.read(value, depth + 1)
        elif name in {"param", "parameter", "loc"}:
            self.fields |= set(
                _field_names(" ".join(f"'{each}'" for each in value) if isinstance(value, list) else f"'{value}'")
            )
        elif name in wordings.FIELDS and _is_text(value):
            # The field itself is the name of what is wrong with it.
            self.fields.add(name)
            self.read(value, depth + 1)
        elif name == "retrydelay" and isinstance(value, str):
            self.texts.append(f"retry in {value[:20]}")
        elif name in _WINDOW_FIELDS and isinstance(value, int):
            self.window = self.window or value
        elif name in _INPUT_FIELDS and isinstance(value, int):
            self.input = self.input or value

    def _read_code(self, value: str | float) -> None:
        # A code of Bedrock's may have a name space before it and a URL behind it.
        code = str(value).strip().rpartition("#")[2].partition(":")[0][:80]
        if code.isascii() and code.isdigit():
            number = int(code[:6])
            self.status = self.status or (number if 400 <= number < 600 else 0)
        if code:
            self.codes.append(code)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    )


def parse_error(status: int, body: Any, headers: Mapping[str, str] | None = None) -> ModelError:
    """Return the ModelError for a decoded body, or for a text. The status is 0 within a stream."""
    refusal = _Refusal()
    refusal.read(body)
    codes = [code.lower() for code in refusal.codes]
    text = "\n".join([*refusal.texts, *(code for code in refusal.codes if not code.isdigit())])
    detail = f"HTTP {status}: {' '.join(refusal.codes)} {' '.join(refusal.texts)}"[:2000]
    if status in {0, 500, 502}:
        # A gateway says 502 for what its provider has refused.
        status = refusal.status or next(
            (STATUS_OF_CODE[code] for code in codes if code in STATUS_OF_CODE), status or 500
        )
    kind = _kind(status, codes, text)
    retry_after = errors.parse_retry_after(headers or {})
    if kind is errors.ModelContextTooLong:
        tokens = token_counts.read(text)
        tokens = replace(tokens, window=refusal.window or tokens.window, input=refusal.input or tokens.input)
        return errors.ModelContextTooLong(detail, tokens=tokens)
    if kind in {errors.ModelRefused, errors.ModelOptionRefused}:
        fields = frozenset(refusal.fields | set(_field_names(text)))
        is_option = not fields.isdisjoint(wordings.STREAM_FIELDS)
        is_option |= bool(fields) and wordings.UNSUPPORTED_PATTERN.search(text) is not None
        if kind is errors.ModelOptionRefused or is_option:
            return errors.ModelOptionRefused(detail, fields=fields, tokens=token_counts.read(text))
    return kind(detail, retry_after=_find_delay(text) if retry_after is None else retry_after)


def _kind(status: int, codes: list[str], text: str) -> type[ModelError]:
    kind = wordings.classify(status, text)
    if kind and issubclass(kind, errors.ModelRateLimited):
        is_useless_to_wait = token_counts.is_larger_than_quota(text)
        return errors.ModelQuotaReached if is_useless_to_wait else kind
    by_code = next((KINDS_OF_CODES[code] for code in codes if code in KINDS_OF_CODES), None)
    if decided := by_code or kind:
        return decided
    if status == 500 and wordings.UNSUPPORTED_PATTERN.search(text) and next(_field_names(text), ""):
        # Python's words for a parameter that a function does not have.
        return errors.ModelOptionRefused
    return errors.error_of_status(status)


def _field_names(text: str) -> Iterator[str]:
    return ((match[1] or match[2]).lower() for match in wordings.FIELD_PATTERN.finditer(text))


def _find_delay(text: str) -> float | None:
    """Return the seconds that a sentence asks to wait: "Please try again in 6m0.5s"."""
    match = _RETRY_PATTERN.search(text)
    if not match or not (match[1] or match[2]):
        return None
    seconds = float(match[2] or 0) / (1000 if (match[3] or "").lower() == "ms" else 1)
    return int(match[1] or 0) * 60 + seconds
