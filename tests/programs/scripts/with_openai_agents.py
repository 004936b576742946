"""An agent of the OpenAI Agents SDK with one tool, streamed by the Responses API, which is its default."""

import asyncio
import os
import sys
from pathlib import Path

from agents import Agent, OpenAIProvider, RunConfig, Runner, function_tool


@function_tool
def write_file(path: str, content: str) -> str:
    """Write a file."""
    Path(path).write_text(content)
    return "written"


async def main(model: str, prompt: str) -> None:
    # The default provider would take what stands before the slash of a model for the name of a provider.
    provider = OpenAIProvider(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"])
    # Traces would go to OpenAI.
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    run = Runner.run_streamed(Agent(name="Writer", model=model, tools=[write_file]), prompt, run_config=config)
    pieces = [
        event.data.delta
        async for event in run.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(pieces) == run.final_output, (pieces, run.final_output)
    print(run.final_output)


asyncio.run(main(*sys.argv[1:]))
