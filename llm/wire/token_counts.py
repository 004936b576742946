"""Reads the numbers of tokens in the sentences of refusals: the window, what the request has, and its answer."""

import re

from llm.errors import TokenCounts

_NUMBER = r"(\d[\d,_]*)"


def _compile(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


_WINDOW_PATTERNS = _compile(
    rf"context limit: {_NUMBER} \+ {_NUMBER} > {_NUMBER}",
    rf"context (?:length|window|size|limit)s?(?: \w+)? (?:is|of|to|=|:)(?: only)? {_NUMBER}",
    rf"context (?:length|window|size|limit) ?[(:] ?{_NUMBER}",
    rf"maximum (?:prompt|input|model|sequence|context) (?:length|limit)?\W*(?:is|of|:) {_NUMBER}",
    rf"with {_NUMBER} maximum context length",
    rf"configured (?:context size is|limit of) {_NUMBER}",
    rf"maximum number of tokens allowed[ (]+{_NUMBER}",
    rf"only supports? up to {_NUMBER}",
    rf"{_NUMBER} tokens? > {_NUMBER}",
    rf"exceed(?:s|ed)? (?:the |model )*(?:limit|token limit|maximum|context window)(?: of| is|:)? {_NUMBER}",
    rf"maximum (?:allowed |input |token )+length[ (]+{_NUMBER}",
    rf"limit for this model is {_NUMBER}",
    rf"token limit:? {_NUMBER}",
    rf"max(?:imum)? (?:size|input tokens?|allowed input length|input length)(?: of| is|:) {_NUMBER}",
    rf"cannot exceed(?: the total tokens limit)? {_NUMBER}",
    rf"must be <= {_NUMBER}",
    rf"must have less than {_NUMBER} tokens",
    rf"while limit is {_NUMBER}",
    rf"\bn_ctx\W{{1,3}}{_NUMBER}",
    rf"length should be \[\d+, ?{_NUMBER}\]",
    rf"max_(?:num_tokens|seq_len)[^(]{{0,40}}\({_NUMBER}\)",
)
_INPUT_PATTERNS = _compile(
    rf"\({_NUMBER} in (?:the |your )?(?:messages|prompt)",
    rf"\({_NUMBER} of text input",
    rf"context limit: {_NUMBER} \+",
    rf"{_NUMBER} (?:tokens from the )?input (?:messages|tokens)",
    rf"{_NUMBER} .?inputs. tokens",
    rf"{_NUMBER} tokens? > \d",
    rf"(?:request|input) \({_NUMBER} tokens\)",
    rf"token count (?:of |is |\(){_NUMBER}",
    rf"token count: {_NUMBER}",
    rf"request contains {_NUMBER} tokens",
    rf"prompt (?:contains|has) (?:at least )?{_NUMBER}",
    rf"messages resulted in {_NUMBER} tokens",
    rf"prompt \(length {_NUMBER}\)",
    rf"sum of prompt length \({_NUMBER}\)",
    rf"number of input tokens {_NUMBER}",
    rf"received {_NUMBER}",
    rf"current length is {_NUMBER}",
    rf"\bn_keep\W{{1,3}}{_NUMBER}",
    rf"keep the first {_NUMBER} tokens",
    rf"(?:prompt|input) (?:is )?too long: {_NUMBER}",
)
_OUTPUT_PATTERNS = _compile(
    rf"{_NUMBER} (?:in|for) the (?:completion|output)",
    rf"context limit: \d+ \+ {_NUMBER} >",
    rf"{_NUMBER} (?:tokens for the completion|.?max_new_tokens)",
    rf"(?:max_(?:completion_)?tokens\W+)+is too large: {_NUMBER}",
)
_TOTAL_PATTERNS = _compile(
    rf"requested (?:about |a total of )?{_NUMBER} tokens",
    rf"requested tokens \({_NUMBER}\)",
    rf"\(requested:? {_NUMBER}\)",
)
_MAX_OUTPUT_PATTERNS = _compile(
    rf"at most {_NUMBER} (?:completion|output)? ?tokens",
    rf"max_(?:completion_|output_|new_)?tokens: \d+ > {_NUMBER}",
    rf"valid range of \S+ is [\[(]\d+, ?{_NUMBER}[\])]",
    rf"(?:less than or equal to|at most|<=|between \d+ and|no more than|cannot exceed) [`'\"(]?{_NUMBER}",
    rf"should be (?:in )?[\[(]\d+, ?{_NUMBER}[\])]",
    rf"exceeds? the (?:model |maximum |model's )*(?:limit )?(?:of |\(){_NUMBER}",
)
#: A quota that is smaller than the request: "Limit 6000, Requested 8000".
_QUOTA_PATTERN = re.compile(rf"limit:? {_NUMBER}.{{0,40}}requested:? {_NUMBER}", re.IGNORECASE)


def is_larger_than_quota(text: str) -> bool:
    """Return whether the request alone is more than a quota takes, so that it is of no use to wait."""
    match = _QUOTA_PATTERN.search(text)
    return match is not None and _integer(match[2]) > _integer(match[1])


def read(text: str) -> TokenCounts:
    """Return the numbers of tokens in the sentence of a refusal."""
    return TokenCounts(
        window=_find(_WINDOW_PATTERNS, text),
        max_output=_find(_MAX_OUTPUT_PATTERNS, text),
        input=_find(_INPUT_PATTERNS, text),
        output=_find(_OUTPUT_PATTERNS, text),
        total=_find(_TOTAL_PATTERNS, text),
    )


def _find(patterns: tuple[re.Pattern[str], ...], text: str) -> int:
    for pattern in patterns:
        if match := pattern.search(text):
            # In a comparison the limit is the last number.
            return _integer(match[match.lastindex or 1])
    return 0


def _integer(digits: str) -> int:
    return int(digits.replace(",", "").replace("_", "")[:12] or 0)
