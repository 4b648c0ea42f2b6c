/** What answers look like, as JSON Schema. What the gateway makes itself is told in full; what backends make, as far as callers may rely on it. */
import type { Schema } from '../../wire/schema.ts'

const text = { type: 'string' }
const count = { type: 'integer', minimum: 0 }
const time = { type: 'integer', description: 'Seconds since 1970.' }
const textOrNull = { type: ['string', 'null'] }
const timeOrNull = { type: ['integer', 'null'] }
const anything = { type: 'object' }

function object (properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema {
  return { type: 'object', properties, required: Object.keys(properties).filter(name => !optional.includes(name)) }
}

function list (items: Schema): Schema { return { type: 'array', items } }

const usage = object({ prompt_tokens: count, completion_tokens: count, total_tokens: count, prompt_tokens_details: anything, completion_tokens_details: anything }, ['prompt_tokens_details', 'completion_tokens_details'])
const finish = { type: ['string', 'null'], description: 'stop, length, tool_calls, content_filter or function_call' }
const message = object({ role: { const: 'assistant' }, content: textOrNull, refusal: textOrNull, tool_calls: list(anything), reasoning_content: textOrNull }, ['refusal', 'tool_calls', 'reasoning_content'])
const model = object({ id: text, object: { const: 'model' }, created: time, owned_by: text, localities: list({ enum: ['local', 'domain', 'cloud'] }) })

export const ANSWERS = {
  ChatCompletion: object({
    id: text, object: { const: 'chat.completion' }, created: time, model: text,
    choices: { ...list(object({ index: count, message, finish_reason: finish, logprobs: { type: ['object', 'null'] } }, ['logprobs'])), minItems: 1 },
    usage, system_fingerprint: textOrNull
  }, ['usage', 'system_fingerprint']),
  ChatCompletionChunk: object({
    id: text, object: { const: 'chat.completion.chunk' }, created: time, model: text,
    choices: list(object({ index: count, delta: anything, finish_reason: finish, logprobs: { type: ['object', 'null'] } }, ['logprobs'])),
    usage: { anyOf: [usage, { type: 'null' }] }, system_fingerprint: textOrNull
  }, ['usage', 'system_fingerprint']),
  ChatEvent: {
    anyOf: [{ $ref: '#/components/schemas/ChatCompletionChunk' }, { $ref: '#/components/schemas/Error' }],
    description: 'An error is the last event of an answer that broke off.'
  },
  TextCompletion: object({ id: text, object: { const: 'text_completion' }, created: time, model: text, choices: list(object({ index: count, text, finish_reason: finish })), usage }, ['usage']),
  Embeddings: object({
    object: { const: 'list' }, model: text, usage: object({ prompt_tokens: count, total_tokens: count }),
    data: list(object({ object: { const: 'embedding' }, index: count, embedding: { anyOf: [list({ type: 'number' }), text] } }))
  }),
  Ranking: object({ results: list(object({ index: count, relevance_score: { type: 'number' } })) }),
  Tokens: object({ tokens: list(count), count, max_model_len: count }, ['max_model_len']),
  Detokenized: object({ content: text }),
  Response: object({
    id: text, object: { const: 'response' }, created_at: time, model: text, output: list(object({ type: text })),
    status: { enum: ['completed', 'incomplete', 'failed', 'in_progress', 'cancelled', 'queued'] }, error: { type: ['object', 'null'] }, usage: { type: ['object', 'null'] }
  }),
  InputTokens: object({ object: { const: 'response.input_tokens' }, input_tokens: count }),
  Message: object({
    id: text, type: { const: 'message' }, role: { const: 'assistant' }, model: text, content: list(object({ type: text })),
    stop_reason: textOrNull, stop_sequence: textOrNull, usage: object({ input_tokens: count, output_tokens: count })
  }),
  CountedTokens: object({ input_tokens: count }),
  Model: model,
  ModelList: object({ object: { const: 'list' }, data: list(model) }),
  File: object({ id: text, object: { const: 'file' }, bytes: count, created_at: time, expires_at: timeOrNull, filename: text, purpose: text, status: text }),
  Batch: object({ id: text, object: { const: 'batch' }, endpoint: text, status: text, input_file_id: text, output_file_id: textOrNull, error_file_id: textOrNull, created_at: time }),
  List: object({ object: { const: 'list' }, data: list(object({ id: text })), first_id: textOrNull, last_id: textOrNull, has_more: { type: 'boolean' } }, ['first_id', 'last_id']),
  Deleted: object({ id: text, object: text, deleted: { const: true } }),
  Event: object({ type: text }, ['type']),
  Object: anything,
  Error: object({ error: object({ message: text, type: text, param: textOrNull, code: textOrNull }) }),
  MessagesError: object({ type: { const: 'error' }, error: object({ type: text, message: text }), request_id: text })
} as const satisfies Record<string, Schema>

export type AnswerName = keyof typeof ANSWERS
