/** POST /messages, Anthropic's dialect. */
import { core, type Check } from '../check.ts'
import { expect, show, type Json, type Server } from '../server.ts'
import { QUESTION, stopIn } from './chat.ts'

const PATH = '/messages'
const HEADERS = { headers: { 'anthropic-version': '2023-06-01' } }
const asks = ({ target }: Server, more: Json = {}) => ({ model: target.model, max_tokens: 200, temperature: 0, messages: [{ role: 'user', content: QUESTION }], ...more })
const textOf = ({ content }: Json): string => content.map(({ text }: Json) => text ?? '').join('')
const LOOK = { name: 'look', input_schema: { type: 'object', properties: { at: { type: 'string' } }, required: ['at'], additionalProperties: false } }
/** What comes in every stream, in this order; pieces and signs of life between. */
const ORDER = ['message_start', 'content_block_start', 'content_block_stop', 'message_delta', 'message_stop']

export const MESSAGES: readonly Check[] = [
  core('messages.text', 'a message with text, stop_reason end_turn and usage', async server => {
    const message = await server.ok(PATH, asks(server), HEADERS)
    expect(message.type === 'message' && message.role === 'assistant' && message.stop_reason === 'end_turn' && textOf(message) !== '', show(message))
    expect(message.usage.input_tokens >= 0 && message.usage.output_tokens > 0, show(message.usage))
  }),
  core('messages.stream', 'the events in their order, with the text of the whole answer', async server => {
    const whole = await server.ok(PATH, asks(server), HEADERS)
    const { events, datas } = await server.stream(PATH, asks(server), HEADERS)
    const types = datas().map(({ type }) => type)
    expect(events.every(({ name }, index) => name === types[index]), 'names and types differ')
    expect(types.filter(type => ORDER.includes(type)).join() === ORDER.join(), show(types))
    const text = datas().map(({ delta }) => delta?.text ?? '').join('')
    expect(text === textOf(whole), `${show(text)} instead of ${show(textOf(whole))}`)
  }),
  core('messages.max-tokens', 'max_tokens: stop_reason max_tokens', async server => {
    const { stop_reason: why, usage } = await server.ok(PATH, asks(server, { max_tokens: 3 }), HEADERS)
    expect(why === 'max_tokens' && usage.output_tokens === 3, show({ why, usage }))
  }),
  core('messages.stop', 'stop_sequences end the text before the sequence, which is told', async server => {
    const { stop, before } = stopIn(textOf(await server.ok(PATH, asks(server), HEADERS)))
    const message = await server.ok(PATH, asks(server, { stop_sequences: [stop] }), HEADERS)
    expect(textOf(message) === before && message.stop_reason === 'stop_sequence' && message.stop_sequence === stop, show({ text: textOf(message), stop_reason: message.stop_reason, stop_sequence: message.stop_sequence }))
  }),
  core('messages.tool', 'a forced tool is used, and its result is taken', async server => {
    const { content, stop_reason: why } = await server.ok(PATH, asks(server, { tools: [LOOK], tool_choice: { type: 'tool', name: 'look' } }), HEADERS)
    const used = content.find(({ type }: Json) => type === 'tool_use')
    expect(why === 'tool_use' && used?.name === 'look' && typeof used.input.at === 'string', show(content))
    const messages = [{ role: 'user', content: 'Look.' }, { role: 'assistant', content }, { role: 'user', content: [{ type: 'tool_result', tool_use_id: used.id, content: 'Nothing.' }] }]
    await server.ok(PATH, asks(server, { tools: [LOOK], tool_choice: { type: 'none' }, messages }), HEADERS)
  }),
  core('messages.error', 'errors have Anthropic\'s shape', async server => {
    const reply = await server.post(PATH, asks(server, { messages: [] }), HEADERS)
    const { type, error } = reply.json()
    await server.ok(PATH, asks(server, { max_tokens: 2 }), HEADERS)
    expect(reply.status === 400 && type === 'error' && error.type === 'invalid_request_error' && typeof error.message === 'string', `${reply.status} ${show(reply.text)}`)
  }),
  core('messages.count', 'count_tokens counts', async server => {
    const { input_tokens: tokens } = await server.ok(`${PATH}/count_tokens`, { model: server.target.model, messages: asks(server).messages }, HEADERS)
    expect(Number.isInteger(tokens) && tokens > 0, show(tokens))
  })
]
