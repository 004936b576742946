// runTools of the openai package for Node.js, streamed.
import { writeFileSync } from "node:fs";
import OpenAI from "openai";

const [model, prompt] = process.argv.slice(2);
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const runner = client.chat.completions.runTools({
  model,
  stream: true,
  messages: [{ role: "user", content: prompt }],
  tools: [
    {
      type: "function",
      function: {
        name: "write_file",
        description: "Write a file.",
        parameters: {
          type: "object",
          properties: { path: { type: "string" }, content: { type: "string" } },
          required: ["path", "content"],
        },
        parse: JSON.parse,
        function: ({ path, content }) => {
          writeFileSync(path, content);
          return "written";
        },
      },
    },
  ],
});
console.log(await runner.finalContent());
