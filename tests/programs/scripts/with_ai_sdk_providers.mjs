// streamText of the AI SDK with a tool and several steps, by the provider that is named: its default API.
import { writeFileSync } from "node:fs";
import { isStepCount, streamText, tool } from "ai";
import { z } from "zod";

const [model, prompt, name] = process.argv.slice(2);
const { createOpenAI, createAnthropic } = await import(name);
const { BASE_URL: baseURL, API_KEY: apiKey } = process.env;
const provider = createOpenAI ? createOpenAI({ baseURL, apiKey }) : createAnthropic({ baseURL, authToken: apiKey });
const result = streamText({
  model: provider(model),
  prompt,
  stopWhen: isStepCount(3),
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
console.log(await result.text, await result.totalUsage);
