"""What providers say instead of an answer: their sentences, in their forms, and what is made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm import errors
from llm.errors import ModelError
from llm.wire.refusals import parse_error

LONG, QUOTA, RATE = errors.ModelContextTooLong, errors.ModelQuotaReached, errors.ModelRateLimited
MONEY, REFUSED, OPTION = errors.ModelOutOfCredit, errors.ModelRefused, errors.ModelOptionRefused
KEY, UNKNOWN, DOWN = errors.ModelNotAuthorized, errors.ModelNotFound, errors.ModelUnavailable


def said(message: str, **more: Any) -> dict[str, Any]:
    """Write an error in OpenAI's form."""
    return {"error": {"message": message, **more}}


#: Status (0: within a stream), body, window, input.
TOO_LONG: dict[str, tuple[int, Any, int, int]] = {
    "OpenAI": (
        400,
        said(
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens.",
            type="invalid_request_error",
            param="messages",
            code="context_length_exceeded",
        ),
        8192,
        8545,
    ),
    "OpenAI, with the parts": (
        400,
        said(
            "This model's maximum context length is 4097 tokens, however you requested 4927 tokens (3927 in your "
            "prompt; 1000 for the completion). Please reduce your prompt; or completion length."
        ),
        4097,
        3927,
    ),
    "OpenAI, Responses": (
        400,
        said("Your input exceeds the context window of this model.", code="context_length_exceeded"),
        0,
        0,
    ),
    "OpenAI, configured": (
        400,
        said("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 509178 tokens."),
        272000,
        509178,
    ),
    "OpenAI, a long string": (
        400,
        said(
            "Invalid 'messages[1].content': string too long. Expected a string with maximum length 1048576.",
            code="string_above_max_length",
        ),
        0,
        0,
    ),
    "Anthropic": (
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 213462 tokens > 200000 maximum"},
        },
        200000,
        213462,
    ),
    "Anthropic, with the answer": (
        400,
        said("input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000"),
        200000,
        190000,
    ),
    "Anthropic, 413": (
        413,
        {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}},
        0,
        0,
    ),
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 5024 tokens "
            "(5000 in "
            "the messages, 24 in the completion). Please reduce the length of the messages or completion.",
            "type": "BadRequestError",
            "code": 400,
        },
        4096,
        5000,
    ),
    "vLLM, newer": (
        400,
        said(
            "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 8192 "
            "tokens and your request has 5000 input tokens (8192 > 8192 - 5000).",
            type="BadRequestError",
            param="max_tokens",
        ),
        8192,
        5000,
    ),
    "vLLM, the decoder": (
        400,
        said("The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        4096,
        5000,
    ),
    "vLLM, older": (400, said("max_tokens must be at least 1, got -808."), 0, 0),
    "no more words": (400, said("Too many tokens"), 0, 0),
    "vLLM, in a stream": (
        0,
        {
            "object": "error",
            "message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        8192,
        0,
    ),
    "SGLang": (
        400,
        said(
            "Requested token count exceeds the model's maximum context length of 202752 tokens. You requested a "
            "total "
            "of 250000 tokens: 240000 tokens from the input messages and 10000 tokens for the completion."
        ),
        202752,
        240000,
    ),
    "SGLang, newer": (
        400,
        said("Input length (5000 tokens) exceeds the maximum allowed length (4090 tokens). Use a shorter input."),
        4090,
        0,
    ),
    "Zhipu, in Chinese": (400, said("Prompt 超长", code="1261"), 0, 0),
    "a gateway, in Chinese": (400, said("输入长度超过模型最大上下文长度"), 0, 0),
    "DashScope, with pictures": (400, said("Total tokens of image and text exceed max message tokens"), 0, 0),
    "in other words": (400, said("The number of tokens in the conversation exceeds the model's limit."), 0, 0),
    "llama.cpp": (
        400,
        said(
            "the request exceeds the available context size. try increasing the context size",
            code=400,
            type="exceed_context_size_error",
            n_prompt_tokens=9031,
            n_ctx=8192,
        ),
        8192,
        9031,
    ),
    "llama.cpp, in words": (
        0,
        said("request (19185 tokens) exceeds the available context size (8192 tokens), try increasing it", code=400),
        8192,
        19185,
    ),
    "llama-cpp-python": (400, said("Requested tokens (5000) exceed context window of 4096"), 4096, 0),
    "LM Studio": (
        400,
        {"error": "The number of tokens to keep from the initial prompt is greater than the context length."},
        0,
        0,
    ),
    "LM Studio, older": (
        400,
        {
            "error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is "
            "loaded with context length of only 4096 tokens, which is not enough."
        },
        4096,
        5000,
    ),
    "Ollama": (400, {"error": "prompt too long; exceeded max context length by 1234 tokens"}, 0, 0),
    "Ollama, embeddings": (500, {"error": "the input length exceeds the context length"}, 0, 0),
    "OpenRouter": (
        400,
        said(
            "This endpoint's maximum context length is 128000 tokens. However, you requested about 140000 tokens "
            "(139000 of text input, 1000 in the output). Please reduce the length of either one.",
            code=400,
        ),
        128000,
        139000,
    ),
    "OpenRouter, of its provider": (
        400,
        said(
            "Provider returned error",
            code=400,
            metadata={
                "raw": json.dumps(said("prompt is too long: 210000 tokens > 200000 maximum")),
                "provider_name": "X",
            },
        ),
        200000,
        210000,
    ),
    "OpenRouter, with status 200": (
        0,
        said("Provider returned error", code=502, metadata={"raw": "Input is too long for requested model."}),
        0,
        0,
    ),
    "Azure": (
        400,
        said(
            "Unable to process.",
            code="BadRequest",
            innererror={"code": "context_length_exceeded", "message": "The context length is 8192 tokens."},
        ),
        8192,
        0,
    ),
    "GitHub Models": (
        413,
        said("Request body too large for gpt-4o model. Max size: 8000 tokens.", code="tokens_limit_reached"),
        8000,
        0,
    ),
    "Copilot": (
        400,
        said("prompt token count of 130000 exceeds the limit of 128000", code="model_max_prompt_tokens_exceeded"),
        128000,
        130000,
    ),
    "Bedrock": (400, {"message": "Input is too long for requested model."}, 0, 0),
    "Bedrock, its type": (
        400,
        {
            "__type": "com.amazon.coral.service#ValidationException",
            "message": "Too many input tokens. Max input tokens: 8192, request input token count: 9000",
        },
        8192,
        9000,
    ),
    "Bedrock, as 500": (500, {"message": "The model returned: Input is too long for requested model."}, 0, 0),
    "Gemini": (
        400,
        [
            said(
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                code=400,
                status="INVALID_ARGUMENT",
            )
        ],
        1048576,
        1200000,
    ),
    "Vertex": (
        400,
        said(
            "Unable to submit request because the input token count is 1200000 but model only supports up to 1048576."
        ),
        1048576,
        1200000,
    ),
    "xAI": (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        },
        131072,
        537812,
    ),
    "Mistral": (
        400,
        {
            "object": "error",
            "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
            "context length",
            "type": "invalid_request_error",
            "code": "3051",
        },
        32768,
        40000,
    ),
    "Groq": (
        400,
        said("Please reduce the length of the messages or completion.", code="context_length_exceeded"),
        0,
        0,
    ),
    "Cerebras": (
        400,
        {
            "message": "Please reduce the length of the messages or completion. Current length is 9000 while "
            "limit is 8192",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        },
        8192,
        9000,
    ),
    "Cohere": (
        400,
        {
            "message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received "
            "4292. Try using a shorter prompt"
        },
        4081,
        4292,
    ),
    "Together": (
        422,
        said(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` "
            "tokens and 512 `max_new_tokens`"
        ),
        8193,
        9000,
    ),
    "Together, newer": (
        400,
        said("The input (9000 tokens) is longer than the model's context length (8192 tokens)."),
        8192,
        9000,
    ),
    "Fireworks": (400, said("The prompt is too long: 140000, model maximum context length: 131071"), 131071, 140000),
    "DeepSeek": (
        400,
        said(
            "This model's maximum context length is 65536 tokens. However, you requested 80000 tokens (72000 in the "
            "messages, 8000 in the completion). Please reduce the length of the messages or completion.",
            type="invalid_request_error",
        ),
        65536,
        72000,
    ),
    "Moonshot": (400, said("Invalid request: Your request exceeded model token limit: 8192"), 8192, 0),
    "MiniMax": (
        0,
        {"base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"}},
        0,
        0,
    ),
    "Zhipu": (400, said("Prompt exceeds max length", code="1261"), 0, 0),
    "DashScope": (400, said("Range of input length should be [1, 30720]"), 30720, 0),
    "TensorRT-LLM": (
        400,
        {
            "message": "The sum of prompt length (5000), query length (0), max_tokens (4096) should not exceed "
            "max_seq_len (8192)"
        },
        8192,
        5000,
    ),
    "a gateway": (400, said("tokens in request more than max tokens allowed", code="400"), 0, 0),
    "a gateway, 429": (429, said("maximum context length is 8192 tokens"), 8192, 0),
    "a list of errors": (
        400,
        {"errors": [{"message": "This model's maximum context length is 8,192 tokens."}]},
        8192,
        0,
    ),
    "FastAPI": (400, {"detail": "This model's maximum context length is 8192 tokens."}, 8192, 0),
    "LiteLLM": (
        400,
        "litellm.BadRequestError: OpenAIException - This model's maximum context length is 8192 tokens. However, you "
        "requested 9000 tokens.",
        8192,
        0,
    ),
    "nginx": (413, "<html><head><title>413 Request Entity Too Large</title></head></html>", 0, 0),
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_conversation_that_is_too_long(name: str) -> None:
    status, body, window, read = TOO_LONG[name]
    error = parse_error(status, body)
    assert type(error) is LONG
    assert (error.tokens.window, error.tokens.input) == (window, read)


#: Status, body, kind.
OTHERS: dict[str, tuple[int, Any, type[ModelError]]] = {
    "Groq, tokens a minute as 413": (
        413,
        said(
            "Request too large for model `fake` on tokens per minute (TPM): Limit 6000, Requested 8000, please "
            "reduce "
            "your message size and try again.",
            type="tokens",
            code="rate_limit_exceeded",
        ),
        QUOTA,
    ),
    "OpenAI, tokens a minute": (
        429,
        said(
            "Rate limit reached for gpt-4o in organization org on tokens per min (TPM): Limit 30000, Used 29000, "
            "Requested 4000. Please try again in 6s.",
            code="rate_limit_exceeded",
        ),
        RATE,
    ),
    "OpenAI, too large a request": (
        429,
        said(
            "Request too large for fake in organization org on tokens per minute (TPM): Limit 30000, Requested 41000."
        ),
        QUOTA,
    ),
    "Bedrock, tokens a day": (500, said("Too many tokens per day, please wait before trying again."), QUOTA),
    "Bedrock, throttled": (
        400,
        {"__type": "ThrottlingException", "message": "Too many tokens, please wait before trying again."},
        RATE,
    ),
    "Cerebras, in a stream": (
        0,
        said(
            "Tokens per minute limit exceeded - too many tokens processed.",
            type="too_many_tokens_error",
            code="token_quota_exceeded",
        ),
        RATE,
    ),
    "Anthropic, tokens a minute": (
        429,
        {
            "type": "error",
            "error": {
                "type": "rate_limit_error",
                "message": "This request would exceed your organization's rate limit of 40,000 input tokens per "
                "minute.",
            },
        },
        RATE,
    ),
    "Anthropic, a month's limit": (400, said("You have reached your specified API usage limits."), QUOTA),
    "OpenRouter, requests a day": (
        429,
        said("Rate limit exceeded: free-models-per-day. Add 10 credits to unlock"),
        QUOTA,
    ),
    "Gemini, with a delay": (
        429,
        [
            {
                "error": {
                    "code": 429,
                    "message": "You exceeded your current quota, please check your plan and billing details. * Quota "
                    "exceeded for metric: generate_content_free_tier_requests, limit: 50. Please retry in 33.5s.",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "33s"}],
                }
            }
        ],
        RATE,
    ),
    "Gemini, in a stream": (0, [{"error": {"message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED"}}], RATE),
    "Mistral, rate": (429, {"message": "Requests rate limit exceeded"}, RATE),
    "a rate as 503": (503, said("Too many concurrent requests for this model"), RATE),
    "an empty 429": (429, "", RATE),
    "too many tokens, 429": (429, said("Too many tokens"), RATE),
    "too many tokens, 500": (500, said("Too many tokens"), DOWN),
    "tokens today": (400, said("Token limit exceeded for today"), QUOTA),
    "tokens of a plan": (400, said("You have exceeded the token limit of your plan"), QUOTA),
    "tokens a minute, with a slash": (413, said("Input tokens exceed the limit of 8000 tokens/min"), RATE),
    "tokens this minute": (500, said("Maximum number of tokens exceeded, try again next minute"), RATE),
    "OpenAI, no credit": (
        429,
        said(
            "You exceeded your current quota, please check your plan and billing details.",
            type="insufficient_quota",
            code="insufficient_quota",
        ),
        MONEY,
    ),
    "DeepSeek, no credit": (
        402,
        said("Insufficient Balance", type="unknown_error", code="invalid_request_error"),
        MONEY,
    ),
    "OpenRouter, no credit": (
        402,
        said(
            "This request requires more credits, or fewer max_tokens. You requested up to 8192 tokens, but can "
            "only afford 23.",
            code=402,
        ),
        MONEY,
    ),
    "Anthropic, no credit": (
        400,
        said(
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to "
            "purchase credits."
        ),
        MONEY,
    ),
    "xAI, no credit": (
        403,
        {
            "code": "forbidden",
            "error": "Your team has either used all available credits or reached its monthly spending limit.",
        },
        MONEY,
    ),
    "DashScope, no credit": (
        400,
        said("Access denied, please make sure your account is in good standing.", code="Arrearage"),
        MONEY,
    ),
    "no credit in a stream": (0, said("Insufficient credits"), MONEY),
    "an empty 402": (402, "", MONEY),
    "OpenAI, policy": (
        400,
        said("Your request was rejected as a result of our safety system.", code="content_policy_violation"),
        REFUSED,
    ),
    "Azure, filter": (
        400,
        said(
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
            code="content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
        REFUSED,
    ),
    "OpenRouter, moderation": (
        403,
        said("Your input was flagged", code=403, metadata={"reasons": ["violence"]}),
        REFUSED,
    ),
    "DashScope, inspection": (
        400,
        said("Input data may contain inappropriate content.", code="data_inspection_failed"),
        REFUSED,
    ),
    "a picture that is too large": (
        400,
        said("messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6 MB"),
        REFUSED,
    ),
    "a long user name": (
        400,
        said("Invalid 'user': string too long. Expected a string with maximum length 64."),
        REFUSED,
    ),
    "a long call id": (
        400,
        said("Invalid 'messages[5].tool_calls[0].id': string too long. Expected maximum length 40"),
        REFUSED,
    ),
    "calls at the same time": (400, said("This model has no concurrent tool calls. Stop update."), REFUSED),
    "moderation is down": (503, said("moderation service unavailable"), DOWN),
    "a bad request": (400, said("secret words", type="invalid_request_error"), REFUSED),
    "llama.cpp, 501": (
        501,
        said("This server does not support embeddings.", type="not_supported_error", code=501),
        REFUSED,
    ),
    "a method": (405, {"detail": "Method Not Allowed"}, REFUSED),
    "gone": (410, "", REFUSED),
    "OpenAI, unknown argument": (
        400,
        said("Unrecognized request argument supplied: stream_options", type="invalid_request_error", param=None),
        OPTION,
    ),
    "FastAPI, unknown argument": (
        422,
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "stream_options"],
                    "msg": "Extra inputs are not permitted",
                    "input": {"messages": "context length"},
                }
            ]
        },
        OPTION,
    ),
    "OpenAI, the limit's name": (
        400,
        said(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
            param="max_tokens",
            code="unsupported_parameter",
        ),
        OPTION,
    ),
    "OpenAI, a fixed temperature": (
        400,
        said(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value "
            "is supported.",
            param="temperature",
            code="unsupported_value",
        ),
        OPTION,
    ),
    "OpenAI, too long an answer": (
        400,
        said(
            "max_tokens is too large: 8192. This model supports at most 4096 completion tokens, whereas you "
            "provided 8192."
        ),
        OPTION,
    ),
    "Anthropic, too long an answer": (
        400,
        said("max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for claude-3-5"),
        OPTION,
    ),
    "Groq, too long an answer": (
        400,
        said(
            "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than "
            "the `context_window` for this model"
        ),
        OPTION,
    ),
    "DeepSeek, too long an answer": (
        400,
        said("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"),
        OPTION,
    ),
    "Groq, a field of a message": (400, said("'messages.2' : property 'reasoning_content' is unsupported"), OPTION),
    "Groq, another field": (400, said("'messages.2' : property 'reasoning' is unsupported"), OPTION),
    "a model without reasoning": (400, said("This model does not support reasoning"), REFUSED),
    "FastAPI, a field of a message": (
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "messages", 1, "reasoning"], "msg": "Extra inputs"}]},
        OPTION,
    ),
    "a range of answers": (400, said("Invalid value for max_tokens: 100000. Must be between 1 and 32768"), OPTION),
    "DashScope, too long an answer": (400, said("Range of max_tokens should be [1, 8192]"), OPTION),
    "TGI, too long an answer": (
        422,
        {"error": "Input validation error: `max_new_tokens` must be <= 512. Given: 1000", "error_type": "validation"},
        OPTION,
    ),
    "Bedrock, too long an answer": (
        400,
        {"message": "The maximum tokens you requested exceeds the model limit of 4096. Try again with a lower value."},
        OPTION,
    ),
    "a gateway, too long an answer": (400, said("max_tokens (99999) exceeds the maximum of 8192"), OPTION),
    "an own field, in other words": (415, {"error": "stream_options is not a known thing here"}, OPTION),
    "an own field, null": (400, said("stream_options must be null"), OPTION),
    "a thought that is missing": (
        400,
        said("The `reasoning_content` in the thinking mode must be passed back to the API."),
        REFUSED,
    ),
    "Zhipu, no credit": (429, said("您的账户已欠费，请充值后重试", code="1113"), MONEY),
    "Zhipu, requests": (429, said("当前API请求过多，请稍后重试", code="1305"), RATE),
    "Zhipu, filter": (400, said("系统检测到输入或生成内容可能包含不安全或敏感内容", code="1301"), REFUSED),
    "OpenRouter, the limit of a key": (403, said("Key limit exceeded (total limit).", code=403), MONEY),
    "LiteLLM's proxy, budget": (400, said("ExceededBudget: User=x over budget. Spend=10, Budget=5"), MONEY),
    "Anthropic, the limit of a workspace": (
        400,
        said("You have reached your specified workspace API usage limits."),
        QUOTA,
    ),
    "MiniMax, a key": (0, {"base_resp": {"status_code": 1004, "status_msg": "login fail: Please carry the key"}}, KEY),
    "Python's words": (500, said("create() got an unexpected keyword argument 'stream_options'"), OPTION),
    "a key": (401, said("Incorrect API key provided: sk-1", code="invalid_api_key"), KEY),
    "Gemini, a key": (400, [said("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT")], KEY),
    "Bedrock, a key": (
        403,
        {"__type": "UnrecognizedClientException", "message": "The security token included in the request is invalid."},
        KEY,
    ),
    "Anthropic, a key": (
        401,
        {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
        KEY,
    ),
    "a model": (
        404,
        said("The model `x` does not exist or you do not have access to it.", code="model_not_found"),
        UNKNOWN,
    ),
    "Ollama, a model": (404, said('model "x" not found, try pulling it first'), UNKNOWN),
    "OpenRouter, a model": (400, said("x/y is not a valid model ID", code=400), UNKNOWN),
    "Groq, a retired model": (400, said("The model `x` has been decommissioned", code="model_decommissioned"), UNKNOWN),
    "Azure, a deployment": (
        404,
        said("The API deployment for this resource does not exist.", code="DeploymentNotFound"),
        UNKNOWN,
    ),
    "Anthropic, overloaded": (
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        DOWN,
    ),
    "Anthropic, overloaded in a stream": (
        0,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        DOWN,
    ),
    "llama.cpp, loading": (503, said("Loading model", type="unavailable_error", code=503), DOWN),
    "a conflict": (409, said("Conflict"), DOWN),
    "Cloudflare": (524, "<html><title>A timeout occurred</title></html>", DOWN),
    "nginx, 502": (502, "<html><head><title>502 Bad Gateway</title></head></html>", DOWN),
    "a text in a stream": (0, "something broke", DOWN),
    "nothing": (500, None, DOWN),
    "a gateway's 502 for a refusal": (502, said("Provider returned error", code=400), REFUSED),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_refusal(name: str) -> None:
    status, body, kind = OTHERS[name]
    assert type(parse_error(status, body)) is kind


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("OpenAI, unknown argument", {"stream_options"}),
        ("FastAPI, unknown argument", {"stream_options"}),
        ("OpenAI, the limit's name", {"max_tokens"}),
        ("OpenAI, a fixed temperature", {"temperature"}),
        ("Groq, a field of a message", {"reasoning_content"}),
        ("Python's words", {"stream_options"}),
    ],
)
def test_the_field_that_is_refused_is_read(name: str, fields: set[str]) -> None:
    error = parse_error(*OTHERS[name][:2])
    assert isinstance(error, OPTION)
    assert error.fields == fields


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("OpenAI, too long an answer", 4096),
        ("Anthropic, too long an answer", 8192),
        ("Groq, too long an answer", 8192),
        ("DeepSeek, too long an answer", 8192),
        ("a range of answers", 32768),
        ("DashScope, too long an answer", 8192),
        ("TGI, too long an answer", 512),
        ("Bedrock, too long an answer", 4096),
        ("a gateway, too long an answer", 8192),
    ],
)
def test_the_longest_answer_is_read(name: str, limit: int) -> None:
    error = parse_error(*OTHERS[name][:2])
    assert isinstance(error, OPTION)
    assert error.tokens.max_output == limit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 6s.", 6),
        ("Please try again in 6m0s.", 360),
        ("Please try again in 120ms.", 0.12),
        ("Please retry after 20 seconds", 20),
        ("Try again later.", None),
    ],
)
def test_a_delay_may_stand_in_the_sentence(text: str, seconds: float | None) -> None:
    assert parse_error(429, said(f"Rate limit reached. {text}")).retry_after == seconds
    assert parse_error(429, said(f"Rate limit reached. {text}"), {"retry-after": "3"}).retry_after == 3


def test_what_a_server_sends_back_of_the_request_is_not_read() -> None:
    body = {
        "detail": [{"loc": ["body", "x"], "msg": "Field required", "input": "prompt is too long: 9 tokens > 8 maximum"}]
    }
    assert type(parse_error(422, body)) is REFUSED


@pytest.mark.parametrize(
    "body", ["[" * 5000, [[[[[[[[[[{"error": "x"}]]]]]]]]]], {"error": {"error": {"error": "x"}}}, 7, [], {}]
)
def test_no_form_of_an_error_is_a_fault(body: Any) -> None:
    assert isinstance(parse_error(0, body), ModelError)
    assert isinstance(parse_error(400, body), REFUSED)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, "stream_options: field is disallowed here", errors.ModelOptionRefused),
        (400, "No such argument: stream_options", errors.ModelOptionRefused),
        (402, "Key limit exceeded (total limit)", errors.ModelOutOfCredit),
        (400, "账户余额不足", errors.ModelOutOfCredit),
        (400, "请求过多，请稍后再试", errors.ModelRateLimited),
        (400, "输入超过模型上下文长度", errors.ModelContextTooLong),
        (400, "The conversation exceeds the maximum of 8192 tokens", errors.ModelContextTooLong),
        (400, "Input validation error: `max_new_tokens` must be at most 512", errors.ModelOptionRefused),
        (400, "输入包含敏感内容", errors.ModelRefused),
    ],
)
def test_words_of_gateways_and_in_chinese(status: int, text: str, kind: type[ModelError]) -> None:
    assert type(parse_error(status, {"error": {"message": text}})) is kind


@pytest.mark.parametrize(
    "body",
    [
        {"stream_options": ["Unknown field."]},
        {"errors": {"stream_options": ["Extra fields not permitted"]}},
        {"error": {"fields": {"stream_options": "unexpected"}}},
    ],
)
def test_a_field_that_is_the_key_of_its_error_is_read(body: Any) -> None:
    error = parse_error(422, body)
    assert isinstance(error, errors.ModelOptionRefused)
    assert error.fields == {"stream_options"}


def test_a_request_that_is_sent_back_is_no_refusal_of_its_fields() -> None:
    body = {"error": "overloaded", "request": {"stream_options": {"include_usage": True}, "user": "alice"}}
    assert type(parse_error(503, body)) is errors.ModelUnavailable
