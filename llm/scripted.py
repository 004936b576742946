"""The built-in model: plays what the user's message tells it to, so that everything can be tried without a provider.

A message whose first line starts with a slash is a script, one command a line:

    /say TEXT              say a text, word by word
    /think TEXT            think a text, word by word, apart from the answer
    /tokens COUNT [RATE]   say COUNT numbered tokens, RATE a second (default: at once)
    /wait SECONDS          be silent
    /call TOOL {JSON}      ask for a tool; what follows is played after its result is in
    /route AGENT           choose this agent when asked for one; says nothing otherwise
    /obey                  do what the newest tool result says: the lines of commands that are in it
    /fail CODE             fail as a provider would: rate_limited, not_authorized, unavailable, refused …
    /cut                   end the stream without the end marker, as a broken connection does
    /stall                 fall silent for ever

Any other message gets an answer that says plainly what this model is. The same history always gives the same answer.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass

from llm import errors
from llm.types import Chunk, EndChunk, ModelMessage, ModelRequest, ReasoningChunk, TextChunk, ToolCallChunk, Usage

NAME = "scripted"

#: Tokens a second of the demo answer: fast, and slow enough to be seen arriving.
DEMO_RATE = 40

COMMANDS = frozenset({"say", "think", "tokens", "wait", "call", "route", "obey", "fail", "cut", "stall"})
ROUTE = re.compile(r"^/route (\S+)", re.MULTILINE)
COMMAND = re.compile(r"/(\w+)\s*(.*)")
FAILURES = {error.code.removeprefix("model_"): error for error in errors.ModelError.__subclasses__()}


@dataclass(frozen=True, slots=True)
class Command:
    """One line of a script."""

    name: str
    argument: str


def stream(request: ModelRequest) -> AsyncGenerator[Chunk]:
    """Play the step of the script that the history has come to; chunks as `llm.calls.stream` yields them."""
    said, done = _last_user_message(request.messages)
    if said.startswith("<") and (route := ROUTE.search(said)):
        # A message in a fence is not said to us: we are asked who is to answer it (`agents.routing`).
        answer = json.dumps({"agent": route[1], "confidence": "high", "reasoning": "The script says so."})
        return _play([Command("say", answer)], done, prompt_words=len(said.split()))
    step = [each for command in _step(_script(said), done) for each in _obeyed(command, request.messages)]
    return _play(step, done, prompt_words=sum(len(m.content.split()) for m in request.messages))


def chooses(text: str) -> bool:
    """Say whether a message is a script that says which agent it is for."""
    return ROUTE.search(text) is not None


def _last_user_message(messages: tuple[ModelMessage, ...]) -> tuple[str, int]:
    """Return the newest user message and how many steps that asked for tools have followed it."""
    done = 0
    for message in reversed(messages):
        if message.role == "user":
            return message.content, done
        done += bool(message.tool_calls)
    return "", done


def _script(text: str) -> list[Command]:
    lines = [line for line in text.splitlines() if line.strip()]
    commands = []
    for line in lines:
        match = COMMAND.match(line.strip())
        if match is None or match[1] not in COMMANDS:
            return [Command("demo", text)]
        commands.append(Command(match[1], match[2]))
    return commands or [Command("demo", text)]


def _step(script: list[Command], done: int) -> list[Command]:
    """Cut the script into model calls: a run of /call lines ends one."""
    steps: list[list[Command]] = [[]]
    for command in script:
        if steps[-1] and steps[-1][-1].name == "call" and command.name != "call":
            steps.append([])
        steps[-1].append(command)
    return steps[done] if done < len(steps) else [Command("say", "Done.")]


def _obeyed(command: Command, messages: tuple[ModelMessage, ...]) -> Iterator[Command]:
    """Yield the command, or in place of /obey those that a tool's output has smuggled in: the worst model there is."""
    if command.name != "obey":
        yield command
        return
    output = next((message.content for message in reversed(messages) if message.role == "tool"), "")
    # Outputs are JSON texts, in which line ends are escaped.
    for line in output.replace("\\n", "\n").replace('\\"', '"').splitlines():
        match = COMMAND.match(line.strip().strip('"'))
        if match and match[1] in COMMANDS - {"obey"}:
            yield Command(match[1], match[2])


async def _play(script: list[Command], step: int, *, prompt_words: int) -> AsyncGenerator[Chunk]:
    tokens = calls = 0
    for command in script:
        match command.name:
            case "route":
                pass
            case "wait":
                await asyncio.sleep(_number(command.argument, 1.0, float))
            case "stall":
                await asyncio.Event().wait()
            case "cut":
                raise errors.ModelTruncated("the script said /cut")
            case "fail":
                raise FAILURES.get(command.argument.strip(), errors.ModelUnavailable)("the script said /fail")
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
    yield EndChunk(reason=reason, usage=Usage(input_tokens=prompt_words, output_tokens=tokens))


def _texts(command: Command) -> tuple[float, Iterator[str]]:
    """Return the pause between two tokens, in seconds, and the tokens."""
    if command.name == "tokens":
        count, _, rate = command.argument.partition(" ")
        per_second = _number(rate, 0.0, float)
        return (1 / per_second if per_second > 0 else 0), (f"t{i} " for i in range(int(_number(count, 10, int))))
    if command.name == "say":
        return 0, _words(command.argument)
    return 1 / DEMO_RATE, _words(demo_answer(command.argument))


def demo_answer(said: str) -> str:
    """Return the answer to a message that is not a script."""
    quoted = said if len(said) <= 200 else said[:200] + " …"
    return (
        "I'm the built-in scripted model. I don't think; I show that streaming works end to end. "
        f"You said: “{quoted}”\n\n"
        "To talk to a real model, set CODELAB_MODEL (for example openai/gpt-5-mini) and the key of its provider. "
        "Or try a script, such as /tokens 200 50."
    )


def _words(text: str) -> Iterator[str]:
    return iter(re.findall(r"\S+\s*|\s+", text))


def _tool_call(argument: str, step: int, index: int) -> Chunk:
    name, _, arguments = argument.partition(" ")
    # The id is a function of its place, so that a turn that is run again asks for the same call.
    return ToolCallChunk(index=index, id=f"call_{step}_{index}", name=name, arguments=arguments.strip() or "{}")


def _number[T: (int, float)](text: str, default: T, read: Callable[[str], T]) -> T:
    try:
        return read(text)
    except ValueError:
        return default
