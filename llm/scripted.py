r"""The built-in scripted model: plays a script in the user's message, so that everything works without a provider.

A message of lines that start with a slash is a script, one command a line:

    /say TEXT              say a text, word by word
    /type TEXT             the same at a reader's pace; \n begins a new line
    /think TEXT            send a text as reasoning, word by word
    /tokens COUNT [RATE]   say COUNT numbered tokens, at most 10,000, RATE a second (default: at once)
    /wait SECONDS          be silent, at most an hour
    /call TOOL {JSON}      call a tool; the commands after it are played once its result is in
    /route AGENT           choose this agent when a model must choose one; says nothing otherwise
    /obey                  follow the commands in the newest tool result
    /fail CODE [SECONDS]   fail as a provider would: rate_limited, not_authorized, unavailable, refused …, and ask for
                           a wait of SECONDS
    /cut                   end the stream without the end marker, as a broken connection does
    /stall                 be silent forever

`/tour NAME` plays one of the scripts of `llm.tours`. Any other message gets an answer that explains this model, and so
does a script above 100,000 characters. The same history always gives the same answer.
"""

import asyncio
import json
import math
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass

from llm import errors, tours
from llm.types import Chunk, EndChunk, ModelMessage, ModelRequest, ReasoningChunk, TextChunk, TokenUsage, ToolCallChunk

NAME = "scripted"

#: Of the model's answer about itself: fast, but slow enough to show streaming.
TOKENS_PER_SECOND = 40

#: Of one /tokens command. A message may have several.
MAX_TOKENS = 10_000
MAX_WAIT_SECONDS = 3600.0
#: The OpenAI-compatible API takes messages of 16 MB, which would take seconds to parse.
MAX_SCRIPT_CHARACTERS = 100_000

COMMANDS = frozenset({"say", "type", "think", "tokens", "wait", "call", "route", "obey", "fail", "cut", "stall"})
ROUTE_PATTERN = re.compile(r"^/route (\S+)", re.MULTILINE)
COMMAND_PATTERN = re.compile(r"/(\w+)\s*(.*)")
WORD_PATTERN = re.compile(r"\S+\s*|\s+")
FAILURES = {error.code.removeprefix("model_"): error for error in errors.ModelError.__subclasses__()}


@dataclass(frozen=True, slots=True)
class ScriptCommand:
    """One line of a script."""

    name: str
    argument: str


def stream(request: ModelRequest) -> AsyncGenerator[Chunk]:
    """Play the next step of the script in the history. Yields the chunks that `llm.calls.stream` documents."""
    text, done = _last_user_message(request.messages)
    if text.startswith("<") and (route := _route(text)):
        # A fenced message is the question which agent should answer it (`agents.routing`).
        agent, reason = route
        answer = json.dumps({"agent": agent, "confidence": "high", "reasoning": reason})
        return _play([ScriptCommand("say", answer)], done, prompt_words=_count_words(text))
    steps = tours.find(text)
    script = _parse(tours.script(steps, done, request.messages[-1])) if steps else _find_step(_parse(text), done)
    step = [each for command in script for each in _expand_obey(command, request.messages)]
    return _play(step, done, prompt_words=sum(map(_count_message_words, request.messages)))


def has_route(text: str) -> bool:
    """Return whether a message is a script that names an agent."""
    return _route(text) is not None


def _route(text: str) -> tuple[str, str] | None:
    """Return the agent that a script in the text names, and the reason."""
    if tour := tours.named_in(text):
        return tour.agent, tour.reason
    match = ROUTE_PATTERN.search(text)
    return (match[1], "The script says so.") if match else None


def _last_user_message(messages: tuple[ModelMessage, ...]) -> tuple[str, int]:
    """Return the newest user message, and the number of steps with tool calls after it."""
    done = 0
    for message in reversed(messages):
        if message.role == "user":
            return message.content, done
        done += bool(message.tool_calls)
    return "", done


def _count_words(text: str) -> int:
    """Return the number of words, if one blank or line end separates each two."""
    return text.count(" ") + text.count("\n") + 1 if text else 0


def _count_message_words(message: ModelMessage) -> int:
    return _count_words(message.content) + _count_words(message.surroundings)


def _parse(text: str) -> list[ScriptCommand]:
    if len(text) > MAX_SCRIPT_CHARACTERS:
        return [ScriptCommand("introduce", text)]
    lines = [line for line in text.splitlines() if line.strip()]
    commands = []
    for line in lines:
        match = COMMAND_PATTERN.match(line.strip())
        if match is None or match[1] not in COMMANDS:
            return [ScriptCommand("introduce", text)]
        commands.append(ScriptCommand(match[1], match[2]))
    return commands or [ScriptCommand("introduce", text)]


def _find_step(script: list[ScriptCommand], done: int) -> list[ScriptCommand]:
    """Return the commands of the next model call: successive /call lines end one."""
    steps: list[list[ScriptCommand]] = [[]]
    for command in script:
        if steps[-1] and steps[-1][-1].name == "call" and command.name != "call":
            steps.append([])
        steps[-1].append(command)
    return steps[done] if done < len(steps) else [ScriptCommand("say", "Done.")]


def _expand_obey(command: ScriptCommand, messages: tuple[ModelMessage, ...]) -> Iterator[ScriptCommand]:
    """Yield the command, or instead of /obey those in a tool's output, as the most gullible model would."""
    if command.name != "obey":
        yield command
        return
    output = next((message.content for message in reversed(messages) if message.role == "tool"), "")
    # Outputs are JSON texts, in which line ends are escaped.
    for line in output[:MAX_SCRIPT_CHARACTERS].replace("\\n", "\n").replace('\\"', '"').splitlines():
        match = COMMAND_PATTERN.match(line.strip().strip('"'))
        if match and match[1] in COMMANDS - {"obey"}:
            yield ScriptCommand(match[1], match[2])


async def _play(script: list[ScriptCommand], step: int, *, prompt_words: int) -> AsyncGenerator[Chunk]:
    tokens = calls = 0
    for command in script:
        match command.name:
            case "route":
                pass
            case "wait":
                await asyncio.sleep(min(_number(command.argument, 1.0, float), MAX_WAIT_SECONDS))
            case "stall":
                await asyncio.Event().wait()
            case "cut":
                raise errors.ModelTruncated("the script said /cut")
            case "fail":
                code, _, seconds = command.argument.strip().partition(" ")
                raise FAILURES.get(code, errors.ModelUnavailable)(
                    "the script said /fail", retry_after=_number(seconds, math.nan, float)
                )
            case "call":
                yield _tool_call(command.argument, step, calls)
                calls += 1
            case "think":
                for text in _words(command.argument):
                    tokens += 1
                    yield ReasoningChunk(text)
            case _:
                pause, texts = _texts(command)
                for text in texts:
                    if tokens and pause:
                        await asyncio.sleep(pause)
                    tokens += 1
                    yield TextChunk(text)
    reason = "tool_calls" if calls else "stop"
    yield EndChunk(reason=reason, usage=TokenUsage(input_tokens=prompt_words, output_tokens=tokens))


def _texts(command: ScriptCommand) -> tuple[float, Iterator[str]]:
    """Return the seconds between two tokens, and the tokens."""
    if command.name == "tokens":
        argument, _, rate = command.argument.partition(" ")
        count, per_second = _number(argument, 10, int), _number(rate, 0.0, float)
        if count > MAX_TOKENS:
            return 0, _words(f"/tokens says at most {MAX_TOKENS:,} tokens at once.")
        return (1 / per_second if per_second > 0 else 0), (f"t{i} " for i in range(count))
    if command.name == "type":
        return 1 / TOKENS_PER_SECOND, _words(command.argument.replace("\\n", "\n"))
    if command.name == "say":
        return 0, _words(command.argument)
    return 1 / TOKENS_PER_SECOND, _words(introduction(command.argument))


def introduction(text: str) -> str:
    """Return the model's answer to a message that is not a script."""
    quote = text if len(text) <= 200 else text[:200] + " …"
    return (
        "I'm the built-in scripted model. I don't think; I show that streaming works end to end. "
        f"You said: “{quote}”\n\n"
        "To talk to a real model, set CODELAB_MODEL (for example openai/gpt-5-mini) and the key of its provider. "
        "Or try a script, such as /tokens 200 50."
    )


def _words(text: str) -> Iterator[str]:
    return (match[0] for match in WORD_PATTERN.finditer(text))


def _tool_call(argument: str, step: int, index: int) -> Chunk:
    name, _, arguments = argument.partition(" ")
    # The id depends only on the position, so that a repeated step makes the same call.
    return ToolCallChunk(index=index, id=f"call_{step}_{index}", name=name, arguments=arguments.strip() or "{}")


def _number[T: (int, float)](text: str, default: T, parse: Callable[[str], T]) -> T:
    try:
        number = parse(text)
    except ValueError:
        return default
    # A timer at NaN would delay other timers of the event loop.
    return default if isinstance(number, float) and math.isnan(number) else number
