/** The canonical format: OpenAI chat completions. The only file that imports the SDK's types. */
import type OpenAI from 'openai'

/** A validated request. Members that OpenAI does not define are kept as they came. */
export type ChatRequest = OpenAI.Chat.ChatCompletionCreateParams & { [extra: string]: unknown }
export type ChatMessage = OpenAI.Chat.ChatCompletionMessageParam
export type ChatChunk = OpenAI.Chat.ChatCompletionChunk
export type ChatCompletion = OpenAI.Chat.ChatCompletion
export type ChatUsage = OpenAI.CompletionUsage

/** Tokens of one answer. `cachedInput` is a part of `input`, `reasoning` a part of `output`. */
export interface TokenUsage { input: number, output: number, cachedInput: number, reasoning: number }
