// Asks the model of the environment with the Vercel AI SDK, whole and streamed; prints a JSON object of what it got.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";

const { BASE_URL, KEY, MODEL, QUESTION, STREAMED } = process.env;
const asked = {
  model: createOpenAI({ baseURL: BASE_URL, apiKey: KEY }).chat(MODEL),
  messages: [{ role: "user", content: QUESTION }],
  maxRetries: 0,
};
let failed;
const got = STREAMED
  ? streamText({ ...asked, onError: ({ error }) => (failed = String(error.message)) })
  : await generateText(asked).catch((error) => (failed = String(error.message)) && undefined);
const parts = [];
if (got && STREAMED) for await (const part of got.textStream) parts.push(part);
const said = failed
  ? { failed }
  : {
      text: await got.text,
      parts: parts.length,
      sources: (await got.sources).map(({ url, title }) => ({ url, title })),
      usage: (await got.usage).outputTokens,
      finish: await got.finishReason,
    };
console.log(JSON.stringify(said));
