// streamText of the AI SDK with a tool and several steps.
import { writeFileSync } from "node:fs";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [model, prompt] = process.argv.slice(2);
const provider = createOpenAICompatible({
  name: "codelab",
  baseURL: process.env.BASE_URL,
  apiKey: process.env.API_KEY,
  includeUsage: true,
});
const result = streamText({
  model: provider(model),
  prompt,
  stopWhen: stepCountIs(3),
  onError: ({ error }) => {
    console.error(error);
    process.exit(1);
  },
  tools: {
    write_file: tool({
      description: "Write a file.",
      inputSchema: z.object({ path: z.string(), content: z.string() }),
      execute: async ({ path, content }) => {
        writeFileSync(path, content);
        return "written";
      },
    }),
  },
});
console.log(await result.text);
