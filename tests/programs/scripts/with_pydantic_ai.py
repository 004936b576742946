"""An agent of pydantic-ai with one tool."""

import os
import sys
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

name, prompt = sys.argv[1:]
provider = OpenAIProvider(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"])
agent = Agent(OpenAIChatModel(name, provider=provider))


@agent.tool_plain
def write_file(path: str, content: str) -> str:
    """Write a file."""
    Path(path).write_text(content)
    return "written"


print(agent.run_sync(prompt).output)
