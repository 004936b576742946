"""The loop of an agent with langchain-openai, by chat completions or, when it is told so, by the Responses API."""

import os
import sys
from pathlib import Path

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def write_file(path: str, content: str) -> str:
    """Write a file."""
    Path(path).write_text(content)
    return "written"


name, prompt, *by_responses = sys.argv[1:]
options = {"use_responses_api": True} if by_responses else {"stream_usage": True}
client = ChatOpenAI(model=name, base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], **options)
model = client.bind_tools([write_file])
messages = [HumanMessage(prompt)]
while True:
    pieces = list(model.stream(messages))
    answer = pieces[0]
    for piece in pieces[1:]:
        answer += piece
    assert answer.usage_metadata["total_tokens"] > 0
    messages.append(answer)
    if not answer.tool_calls:
        print(answer.text)
        break
    messages += [write_file.invoke(call) for call in answer.tool_calls]
