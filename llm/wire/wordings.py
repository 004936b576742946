"""The words that providers use for each kind of refusal, in one table. The first line that fits decides.

A quota of tokens must never be taken for a conversation that is too long: people would begin anew, and it would not
help. tests/llm/test_refusals.py has real sentences of some thirty servers for both.
"""

import re
from dataclasses import dataclass

from llm import errors
from llm.errors import ModelError


@dataclass(frozen=True, slots=True)
class Wording:
    """A kind of refusal."""

    kind: type[ModelError]
    words: re.Pattern[str]
    #: The sentence is about something else when it has these words as well.
    unless: re.Pattern[str] | None = None
    #: The HTTP statuses for which the words count; None: all. Others say more than the words do.
    statuses: frozenset[int] | None = None


def _any(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


#: 0 is an error within a stream.
_VAGUE = frozenset({0, 400, 422, 500})

WORDINGS: tuple[Wording, ...] = (
    Wording(
        errors.ModelQuotaReached,
        _any(
            r"(per[ _-]?|/ ?)(hour|day|week|month)\b|\b(today|tomorrow|midnight)\b",
            r"\b[tr]p[dh]\b",
            r"\b(daily|weekly|monthly) .{0,30}(limit|quota|cap)\b",
            r"specified (\w+ )?api usage limits",
            r"usage limit (has been )?reached",
        ),
        unless=_any(r"spending limit", r"spend limit"),
    ),
    Wording(
        errors.ModelRateLimited,
        _any(
            r"(per[ _-]?|/ ?|this |next )(sec|second|min|minute)\b",
            r"\b[tr]p[ms]\b",
            r"quota exceeded for (quota )?metric",
            r"(token|request)[ _]quota",
            r"too many tokens(, | being | processed|\W+please wait)",
            r"please wait before trying again",
        ),
    ),
    Wording(
        errors.ModelOutOfCredit,
        _any(
            r"insufficient[ _](account[ _])?(balance|credits?|funds?|quota)",
            r"(balance|credits?|funds) (is |are |has been |have been )?(too low|exhausted|insufficient|not "
            r"enough|depleted|used up)",
            r"(not enough|out of|no|used all available|(requires?|needs?) more|add( more)?|purchase( more)?|buy( "
            r"more)?) credits?\b",
            r"not enough (balance|funds|money)",
            r"exceeded your current quota, please check your plan and billing",
            r"\btop[ -]?up\b|recharge your|payment required|in arrears|arrearage|overdue",
            r"billing (hard limit|is not active|details)|billing_(hard_limit|not_active)|account is not active",
            r"(spending|spend|budget|prepaid) limit|budget has been exceeded|over budget|available balance",
            r"\bkey limit exceeded|balance is negative|余额不足|欠费|请充值",
        ),
    ),
    Wording(
        errors.ModelQuotaReached,
        _any(
            r"(limit|quota|allowance) (of|for|on|in) your (current )?(plan|tier|account|organization|subscription)\b",
            r"your (plan|tier|account|organization|subscription|team)('s)? .{0,30}(limit|quota)\b",
        ),
        unless=_any(r"rate[ _-]?limit"),
    ),
    Wording(
        errors.ModelRateLimited,
        _any(
            r"rate[ _-]?limit",
            r"too many (concurrent )?requests",
            r"throttl",
            r"concurren(t|cy).{0,20}(limit|requests|connections)",
            r"quota",
            r"slow[ _]down",
            r"请求过多|并发数过高|频率过高",
        ),
        # "Reduce your rate limit" never, but "the maximum context length" may be called a quota by a gateway.
        unless=_any(r"context[ _](length|window)"),
    ),
    Wording(
        errors.ModelOptionRefused,
        _any(
            r"max_(completion_|output_|new_)?tokens\W.{0,60}(too large|must be|less than|at most|valid range|out "
            r"of range|not in|invalid|exceeds the|should be)",
            r"maximum tokens you requested exceeds",
            r"invalid (value for )?.?max_(completion_|output_|new_)?tokens",
            r"max_(completion_|output_|new_)?tokens: \d+ > \d+",
            r"maximum (allowed )?number of output tokens",
            r"at most \d+ (completion|output) tokens",
        ),
        # TGI calls every refusal an "input validation error".
        unless=_any(
            r"\binputs?\b(?! validation)", r"\bprompt\b", r"\bmessages\b", r"context (length|limit|window)", r"got -\d"
        ),
    ),
    Wording(
        errors.ModelContextTooLong,
        _any(
            r"context[ _-]?(length|window|size|limit|overflow)",
            r"maximum context",
            r"(prompt|input|inputs|conversation|request|history)( is| are| was| has been)? too (long|large)\b",
            r"too many (input|prompt) tokens",
            r"tokens in the (prompt|request|input).{0,20}exceed",
            r"max_tokens must be at least 1, got -\d",
            r"tokens? in request more than",
            r"tokens?_?(limit)?[ _]exceeded",
            r"token (count|limit|length)\b.{0,60}exceed",
            r"exceed(s|ed)?\b.{0,60}\b(token limit|tokens? allowed|number of tokens|input length|prompt length"
            r"|input tokens)",
            r"(maximum|max)\.? (allowed )?(prompt|input|model|sequence|number of (input "
            r")?tokens)\b.{0,20}\b(length|is|exceed|allowed|tokens)",
            r"input tokens?\b.{0,40}(exceed|only supports|longer than|greater than|larger than)",
            r"(prompt|input|inputs|messages?)\b.{0,60}\b(longer than|exceeds?|greater than|too large for model"
            r"|must have less than)\b.{0,60}(token|length|limit|context|model)",
            r"inputs. tokens \+ .?max_new_tokens",
            r"reduce the length of (the|your) (messages|prompt|input)",
            r"range of input length should be",
            r"sum of prompt length",
            r"max size: \d+ tokens",
            r"messages(\[\d+\]\.content\S*)?'?: (string|array) too long",
            r"prompt exceeds max length",
            r"(conversation|messages?|text)\b.{0,40}\bexceeds? .{0,20}(max|maximum|model's) .{0,20}(tokens|limit)\b",
            r"超长|超(过|出).{0,20}(上下文|长度)|(上下文|输入)长度.{0,10}超",
        ),
        # Pictures and files have limits of their own.
        unless=_any(r"\bimages?\b(?! and text).{0,40}\b(exceeds?|too large|pixels|bytes|mb)\b", r"'user'"),
    ),
    Wording(
        errors.ModelContextTooLong,
        _any(r"too many tokens"),
        # Otherwise a quota may be meant.
        statuses=frozenset({400, 413, 422}),
    ),
    Wording(
        errors.ModelRefused,
        _any(
            r"content[ _-]?(policy|filter|management|moderation|safety)",
            r"moderation|flagged|responsible ai|harmful|prohibited (use|content)|usage polic(y|ies)",
            r"inappropriate content|unsafe or sensitive|sensitive (content|words|information)|data[_ ]inspection",
            r"blocked (by|due to) .{0,20}(safety|policy|guardrail)|violat(es|ed|ion of) .{0,40}polic",
            r"敏感内容|不安全.{0,6}内容|违规",
        ),
        statuses=_VAGUE | {403, 451},
    ),
    Wording(
        errors.ModelNotFound,
        _any(
            r"\bmodel\b.{0,80}(does not exist|doesn't exist|not found|not exist|no longer (available|supported)"
            r"|has been (deprecated|decommissioned|retired|removed)|is not available)",
            r"not a valid model|(unknown|invalid|no such|unsupported) model|model name .{0,40}(passed|invalid)",
            r"deployment .{0,60}(does not exist|not found)",
        ),
        statuses=_VAGUE | {403, 410},
    ),
    Wording(
        errors.ModelNotAuthorized,
        _any(
            r"(invalid|incorrect|missing|wrong|expired|no) (x-)?api[ _-]?key",
            r"api[ _-]?key.{0,30}(not valid|invalid|expired|missing|required|revoked|disabled|incorrect|provided)",
            r"unauthori[sz]ed|unauthenticated|authentication (failed|error|required|fails)|invalid "
            r"(authentication|credentials|bearer|token\b)",
            r"missing credentials|unable to locate credentials|security token .{0,40}(invalid|expired)|login fail",
        ),
        statuses=_VAGUE,
    ),
    Wording(
        errors.ModelUnavailable,
        _any(
            r"overloaded|over capacity|at capacity|high demand|temporarily unavailable|currently unavailable"
            r"|server is busy",
            r"(model is|still) (currently )?loading|loading model|internal (server )?error|service unavailable"
            r"|bad gateway",
        ),
        statuses=frozenset({0, 400}),
    ),
)

#: Words for a field, or a value of it, that a provider does not take.
UNSUPPORTED_PATTERN = _any(
    r"unrecogni[sz]ed|unsupported|unknown|unexpected|illegal|disallowed|no such|not (be )?(supported|permitted|allowed"
    r"|recogni[sz]ed|accepted|implemented|defined|a valid|a permitted)",
    r"(does|do|is|are)( not|n't) (support|accept|allow|recogni[sz]e|permit)",
    r"extra (inputs?|fields?|forbidden|properties)|extra_forbidden",
    r"additional ?properties|only the default|incompatible|deprecated|cannot be (set|used|specified)|no longer"
    r"|must be (omitted|1\b)|invalid (field|parameter|argument|key)",
)
#: Fields of a request that some providers do not take.
FIELDS = (
    "stream_options",
    "include_usage",
    "max_completion_tokens",
    "max_tokens",
    "parallel_tool_calls",
    "tool_choice",
    "strict",
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "seed",
    "stop",
    "user",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "cache_control",
    "reasoning_content",
    "reasoning_details",
    "thinking_blocks",
    "extra_content",
    "provider_specific_fields",
    "reasoning_opaque",
    "reasoning_signature",
)
#: There is no other reason to name these than to refuse them, in whatever words.
STREAM_FIELDS = frozenset({"stream_options", "include_usage"})
#: Whole words only, and not as advice. Those that are words of English as well have to be in quotes.
FIELD_PATTERN = re.compile(
    rf"(?<!use )(?<!use ['\"`])\b({'|'.join(FIELDS)})\b|['\"`](reasoning|signature|thinking)['\"`]", re.IGNORECASE
)


def classify(status: int, text: str) -> type[ModelError] | None:
    """Return the kind of refusal that a text is about, or None when its words say nothing."""
    for wording in WORDINGS:
        if wording.statuses is not None and status not in wording.statuses:
            continue
        if wording.words.search(text) and not (wording.unless and wording.unless.search(text)):
            return wording.kind
    return None
