"""The loop of an agent with the openai package: streams, runs the tool, sends its result."""

import json
import os
import sys
from pathlib import Path

from openai import OpenAI

model, prompt = sys.argv[1:]
client = OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"])
parameters = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
    "required": ["path", "content"],
}
tools = [{"type": "function", "function": {"name": "write_file", "description": "Write.", "parameters": parameters}}]
messages = [{"role": "user", "content": prompt}]
while True:
    with client.chat.completions.stream(model=model, messages=messages, tools=tools) as stream:
        message = stream.get_final_completion().choices[0].message
    if not message.tool_calls:
        print(message.content)
        break
    messages.append(message.to_dict())
    for call in message.tool_calls:
        arguments = json.loads(call.function.arguments)
        Path(arguments["path"]).write_text(arguments["content"])
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "written"})
