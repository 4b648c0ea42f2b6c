/** What a message may look like, by role. Part of `validateChat`. */
import { all, invalidValue, list, missing, object, oneOf, outOfRange, shape, stringOr, text, variant, within, wrongType } from './check.ts'
import type { Check, Fault, Members } from './check.ts'

const MOST_MESSAGES = 10_000

/** Enough of a data URL to hold its media type. */
const DATA_URL_HEAD = 256

const IMAGE_DATA = /^data:image\/(?!svg)[a-z0-9.+-]+(?:;[a-z0-9.+=-]+)*;base64,/i
const IMAGE_RULE = "a base64-encoded data URL with an image MIME type (e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU=')"

/** Whoever fetches an address does so from inside the operator's network, past every rule about where calls may go. */
export function addressed (what: string): Fault {
  return invalidValue(`send ${what} as a data: URL; the gateway does not let a backend fetch addresses.`)
}

/** Base64 has no colon, so what has one and is no data URL is an address, however it is disguised. */
function isAddress (value: string): boolean {
  return value.includes(':') && !/^data:/i.test(value)
}

export function imageUrl (value: unknown): Fault | null {
  if (typeof value !== 'string') return wrongType('a string', value)
  if (IMAGE_DATA.test(value.slice(0, DATA_URL_HEAD))) return null
  return isAddress(value) ? addressed('the image') : outOfRange('unsupported URL', IMAGE_RULE)
}

const MOST_ADDRESS = 2048

/** An address over TLS may pass here: the life of a call fetches it, or refuses it (pipeline/images.ts). No backend is ever told of one. */
export function imageOrAddress (value: unknown): Fault | null {
  const isSecure = typeof value === 'string' && value.length <= MOST_ADDRESS && /^https:\/\/[^@\s]+$/.test(value) && URL.canParse(value)
  return isSecure ? null : imageUrl(value)
}

const anyText = text()
export const noAddress = (what: string): Check => value => anyText(value) ?? (isAddress(value as string) ? addressed(what) : null)

/** Members of other dialects by which servers are told to fetch something. */
const LINKS = Object.fromEntries(['audio_url', 'file_url', 'image_url', 'url', 'video_url'].map(name => [name, () => addressed('the content')]))

const filePart: Check = value => {
  const { file_data: data, file_id: id } = value as Members
  return data === undefined && id === undefined ? missing('file_id') : null
}

const audio = shape({ ...LINKS, data: noAddress('the audio'), format: oneOf('wav', 'mp3') }, 'data', 'format')
const file = all(shape({ ...LINKS, file_data: noAddress('the file'), file_id: noAddress('the file'), filename: text() }), filePart)

const PART = {
  text: shape({ ...LINKS, text: anyText }, 'text'),
  refusal: shape({ refusal: anyText }, 'refusal'),
  image_url: shape({ ...LINKS, image_url: shape({ url: imageOrAddress, detail: oneOf('auto', 'low', 'high', 'original') }, 'url') }, 'image_url'),
  input_audio: shape({ ...LINKS, input_audio: audio }, 'input_audio'),
  file: shape({ ...LINKS, file }, 'file')
}

const textParts = list(variant('type', { text: PART.text }), { of: 'objects' })
const textContent = stringOr(textParts, 'objects')
const userContent = stringOr(list(variant('type', { text: PART.text, image_url: PART.image_url, input_audio: PART.input_audio, file: PART.file }), { of: 'objects' }), 'objects')
const assistantContent = stringOr(list(variant('type', { text: PART.text, refusal: PART.refusal }), { of: 'objects' }), 'objects')

/** Looser than the name of a declared tool: a history may hold whatever a model once called. */
const calledName = text({ least: 1, most: 256 })
const functionCall = shape({ name: calledName, arguments: text() }, 'name', 'arguments')
const callId = text({ least: 1, most: 512 })

const toolCalls = list(variant('type', {
  function: shape({ id: callId, function: functionCall }, 'id', 'function'),
  custom: shape({ id: callId, custom: shape({ name: calledName, input: text() }, 'name', 'input') }, 'id', 'custom')
}), { of: 'objects', least: 0, most: 128 })

/** Content may be null or left out where the message says something otherwise. An empty list of calls says nothing. */
function assistantSays (value: unknown): Fault | null {
  const message = value as Members
  const calls = message['tool_calls'] as unknown[] | undefined
  if (calls?.length === 0) delete message['tool_calls']
  const content = message['content']
  if ((content === undefined || content === null) && saysOtherwise(message)) return null
  if (content === undefined) return missing('content')
  const fault = assistantContent(content)
  return fault === null ? null : within('content', fault)
}

/** The reasoning members are what local servers add to their answers and agents send back. */
function saysOtherwise (message: Members): boolean {
  return message['tool_calls'] !== undefined || message['function_call'] !== undefined || message['refusal'] !== undefined ||
    message['audio'] !== undefined || typeof message['reasoning_content'] === 'string' || typeof message['reasoning'] === 'string'
}

const nullOrText: Check = value => value === null ? null : anyText(value)
const name = text({ most: 64, pattern: /^[^\s<|\\/>]+$/ })

const turn = variant('role', {
  system: shape({ content: textContent, name }, 'content'),
  developer: shape({ content: textContent, name }, 'content'),
  user: shape({ content: userContent, name }, 'content'),
  assistant: all(shape({ name, refusal: text(), audio: object, function_call: functionCall, tool_calls: toolCalls }), assistantSays),
  tool: shape({ content: textContent, name, tool_call_id: callId }, 'content', 'tool_call_id'),
  function: shape({ content: nullOrText, name }, 'content', 'name')
})

/** Every tool message answers a call that an earlier assistant message made. */
function answersAreCalledFor (value: unknown): Fault | null {
  const ids = new Set<unknown>()
  let index = 0
  for (const message of value as Members[]) {
    if (message['role'] === 'assistant') {
      for (const call of (message['tool_calls'] ?? []) as Members[]) ids.add(call['id'])
    } else if (message['role'] === 'tool' && !ids.has(message['tool_call_id'])) {
      return within(index, within('tool_call_id', invalidValue("messages with role 'tool' must be a response to a preceding message with 'tool_calls'.")))
    }
    index++
  }
  return null
}

export const messages: Check = all(list(turn, { of: 'objects', most: MOST_MESSAGES }), answersAreCalledFor)
