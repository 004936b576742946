"""Why an answer ended: what each provider calls it, in OpenAI's four words, or as a failure."""

import re
from enum import StrEnum
from typing import Any

from llm import errors


class Finish(StrEnum):
    """How an answer ended. The value is OpenAI's word."""

    END = "stop"
    LENGTH = "length"
    FILTER = "content_filter"
    TOOLS = "tool_calls"
    #: Not a word of OpenAI's: the provider itself failed.
    FAILURE = "failure"


#: Providers' own words. OpenAI, Anthropic, Gemini, Mistral, Cohere, Ollama, vLLM, llama.cpp, TGI, Bedrock, DeepSeek,
#: Zhipu, MiniMax, OpenRouter.
WORDS: dict[Finish, str] = {
    Finish.END: """stop end eos eos_token end_turn stop_sequence stop_token complete completed done finish finished
        success normal pause_turn""",
    Finish.LENGTH: """length max_tokens max_token max_output_tokens max_new_tokens max_completion_tokens max_length
        model_length token_limit error_limit limit incomplete truncated""",
    Finish.FILTER: """content_filter content_filtered sensitive safety recitation blocklist prohibited_content spii
        image_safety language refusal refused guardrail_intervened error_toxic""",
    Finish.TOOLS: "tool_calls tool_call tool_use tool function_call function_calls",
    Finish.FAILURE: """error failed failure abort aborted cancel cancelled canceled network_error timeout overloaded
        insufficient_system_resource malformed_function_call malformed_response unexpected_tool_call too_many_tool_calls
        missing_thought_signature other unspecified repetition""",
}
#: What is longer is no word of the table.
MAX_REASON_CHARACTERS = 200
_FINISHES = {word: finish for finish, words in WORDS.items() for word in words.split()}

_GRAVITY = (Finish.FAILURE, Finish.FILTER, Finish.LENGTH, Finish.TOOLS, Finish.END)

#: For words that the table does not have. The first pattern that occurs decides.
PATTERNS: tuple[tuple[Finish, re.Pattern[str]], ...] = (
    (Finish.LENGTH, re.compile(r"length|max_|context|window|token_limit|limit_reached|too_long")),
    (Finish.FILTER, re.compile(r"filter|safety|sensitiv|moderat|guardrail|prohibit|policy|block|violat|toxic")),
    (
        Finish.FAILURE,
        re.compile(
            r"error|fail|abort|cancel|malform|invalid|time_?out|unavailable|overload|exce(ption|eded)|interrupt|resource"
            r"|disconnect|crash|lost|killed|evict|preempt|quota|rate_limit|unexpected"
        ),
    ),
    (Finish.TOOLS, re.compile(r"tool|function")),
)


def find(reason: Any) -> Finish | None:
    """Return what a provider's end marker means, or None for an unknown word."""
    if isinstance(reason, dict):
        reason = reason.get("type") or reason.get("reason")
    # Some send the name of an enumeration's member: FinishReason.MAX_TOKENS.
    word = re.sub(r"[\s-]+", "_", str(reason)[:MAX_REASON_CHARACTERS].strip()).rpartition(".")[2]
    # contentFilter, but not MAX_TOKENS.
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).lower().removeprefix("finish_reason_")
    if word in _FINISHES:
        return _FINISHES[word]
    return next((finish for finish, pattern in PATTERNS if pattern.search(word)), None)


def graver(first: Any, second: Any) -> Any:
    """Return the one of two end markers that says more. Some servers send one with each event."""
    ranks = [_GRAVITY.index(finish) if (finish := find(each)) else len(_GRAVITY) for each in (first, second)]
    return second if ranks[1] < ranks[0] else first


def judge(reason: Any, *, has_output: bool) -> str:
    """Return OpenAI's word for a provider's end marker.

    Raises ModelUnavailable for a failure, also for an unknown marker of an answer without content, and ModelTruncated
    when users have seen a part of the answer.
    """
    finish = find(reason)
    if finish is Finish.FAILURE or (finish is None and not has_output):
        detail = f"finish reason: {str(reason)[:100]}"
        raise errors.ModelTruncated(detail) if has_output else errors.ModelUnavailable(detail)
    return (finish or Finish.END).value
