/** What each route is for, what it takes and what it answers. A test holds this table to the routes there are, both ways. */
import { completionSchema } from '../../wire/completions.ts'
import { embeddingsSchema } from '../../wire/embeddings.ts'
import { forwardSchema } from '../../wire/forward.ts'
import { countedSchema, messagesSchema } from '../../wire/messages/request.ts'
import { rerankSchema } from '../../wire/rerank.ts'
import { responsesSchema } from '../../wire/responses/request.ts'
import type { Schema } from '../../wire/schema.ts'
import { detokenizeSchema, tokenizeSchema } from '../../wire/tokenize.ts'
import { chatSchema } from '../../wire/validate.ts'
import type { AnswerName } from './answers.ts'

export interface About {
  readonly says: string
  /** A JSON body. */
  readonly body?: () => Schema
  /** A form instead, with these members. */
  readonly form?: Readonly<Record<string, Schema>>
  readonly query?: readonly string[]
  /** A JSON answer, or its media type where it is none. */
  readonly answer: AnswerName | { readonly media: string }
  /** What the events of a stream hold, where `stream: true` asks for one. */
  readonly events?: AnswerName
}

const PAGE = ['after', 'limit', 'order']
const file = { type: 'string', contentMediaType: 'application/octet-stream' }
const text = { type: 'string' }
const batch = () => ({
  type: 'object',
  properties: { input_file_id: text, endpoint: text, completion_window: { const: '24h' }, metadata: { type: ['object', 'null'] }, output_expires_after: { type: ['object', 'null'] } },
  required: ['input_file_id', 'endpoint', 'completion_window']
})

/** Method and path as they are registered. */
export const ROUTES: Readonly<Record<string, About>> = {
  'POST /v1/chat/completions': { says: 'Chat completions.', body: chatSchema, answer: 'ChatCompletion', events: 'ChatEvent' },
  'POST /v1/responses': { says: 'Responses, for every backend.', body: responsesSchema, answer: 'Response', events: 'Event' },
  'GET /v1/responses': { says: 'Responses over a WebSocket, to which the connection is upgraded.', answer: { media: 'application/octet-stream' } },
  'POST /v1/responses/compact': { says: 'A conversation made shorter.', body: responsesSchema, answer: 'Object' },
  'POST /v1/responses/input_tokens': { says: 'The tokens of a request, without a call.', body: responsesSchema, answer: 'InputTokens' },
  'GET /v1/responses/:id': { says: 'A kept response.', answer: 'Response' },
  'DELETE /v1/responses/:id': { says: 'Deletes a kept response.', answer: 'Deleted' },
  'POST /v1/responses/:id/cancel': { says: 'Only responses in the background can be cancelled, and none is.', answer: 'Response' },
  'GET /v1/responses/:id/input_items': { says: 'What the model was given for a kept response.', query: PAGE, answer: 'List' },
  'POST /v1/messages': { says: 'Anthropic\'s Messages API, for every backend.', body: messagesSchema, answer: 'Message', events: 'Event' },
  'POST /v1/messages/count_tokens': { says: 'The tokens of a request in Anthropic\'s dialect, without a call.', body: countedSchema, answer: 'CountedTokens' },
  'POST /v1/completions': { says: 'Legacy completions of a raw prompt.', body: completionSchema, answer: 'TextCompletion', events: 'Event' },
  'POST /v1/embeddings': { says: 'Vectors.', body: embeddingsSchema, answer: 'Embeddings' },
  'POST /v1/rerank': { says: 'Documents ranked for a query.', body: rerankSchema, answer: 'Ranking' },
  'POST /tokenize': { says: 'A text as tokens of a local model.', body: tokenizeSchema, answer: 'Tokens' },
  'POST /detokenize': { says: 'Tokens of a local model as text.', body: detokenizeSchema, answer: 'Detokenized' },
  'GET /v1/models': { says: 'The models that this key may call.', answer: 'ModelList' },
  'GET /v1/models/*': { says: 'One of them. Its name may contain slashes.', answer: 'Model' },
  'POST /v1/moderations': { says: 'Passed to a backend that serves it.', body: () => forwardSchema('moderations'), answer: 'Object' },
  'POST /v1/audio/speech': { says: 'Passed to a backend that serves it.', body: () => forwardSchema('speech'), answer: { media: 'audio/*' } },
  'POST /v1/audio/transcriptions': { says: 'Passed to a backend that serves it.', form: { model: text, file }, answer: 'Object' },
  'POST /v1/audio/translations': { says: 'Passed to a backend that serves it.', form: { model: text, file }, answer: 'Object' },
  'POST /v1/images/generations': { says: 'Passed to a backend that serves it.', body: () => forwardSchema('image_generations'), answer: 'Object', events: 'Event' },
  'POST /v1/images/edits': { says: 'Passed to a backend that serves it.', form: { model: text, image: file, prompt: text }, answer: 'Object' },
  'POST /v1/images/variations': { says: 'Passed to a backend that serves it.', form: { model: text, image: file }, answer: 'Object' },
  'POST /v1/files': { says: 'Uploads a file.', form: { purpose: text, file }, answer: 'File' },
  'GET /v1/files': { says: 'Files of the tenant.', query: [...PAGE, 'purpose'], answer: 'List' },
  'GET /v1/files/:id': { says: 'What is known of a file.', answer: 'File' },
  'GET /v1/files/:id/content': { says: 'Its bytes.', answer: { media: 'application/octet-stream' } },
  'DELETE /v1/files/:id': { says: 'Deletes a file.', answer: 'Deleted' },
  'POST /v1/batches': { says: 'Many requests, answered when there is room.', body: batch, answer: 'Batch' },
  'GET /v1/batches': { says: 'Batches of the tenant.', query: ['after', 'limit'], answer: 'List' },
  'GET /v1/batches/:id': { says: 'How far a batch is.', answer: 'Batch' },
  'POST /v1/batches/:id/cancel': { says: 'Ends a batch.', answer: 'Batch' },
  'GET /openapi.json': { says: 'This description.', answer: 'Object' },
  'GET /openapi': { says: 'This description as a page.', answer: { media: 'text/html' } }
}
