/** What stands in the content of a message, and what of it has no equivalent here. Part of the check of a Messages request. */
import { imageOrAddress } from '../conversation.ts'
import { boolean, invalidValue, list, object, oneOf, shape, stringOr, text, variant, type Check, type Members } from '../check.ts'

const anyText = text()
const name = text({ least: 1, most: 256 })
const id = text({ least: 1, most: 512 })

/** By name, so that a caller learns what was not sent on. */
export const notCarried = (why: string): Check => () => ({
  code: 'unsupported_value', path: '', says: path => `Unsupported value: '${path}' ${why}`
})

const fetched = notCarried("would have to be fetched; send the content itself, as a source of the type 'base64'.")
const stored = notCarried('names a stored file, and none are kept here; send the content itself.')
const serverSide = notCarried('belongs to a tool that runs at Anthropic, and is not carried to other models.')

const base64: Check = value => {
  const fault = anyText(value)
  return fault ?? ((value as string).includes(':') ? invalidValue('expected base64 without a prefix.') : null)
}

const imageSource = variant('type', {
  base64: shape({ media_type: oneOf('image/jpeg', 'image/png', 'image/gif', 'image/webp'), data: base64 }, 'media_type', 'data'),
  url: shape({ url: imageOrAddress }, 'url'),
  file: stored
})

const citations: Check = value => object(value) ?? ((value as Members)['enabled'] === true ? notCarried('asks for citations, which only Anthropic gives.')(value) : null)

const PART = {
  text: shape({ text: anyText }, 'text'),
  image: shape({ source: imageSource }, 'source')
}

export const textBlocks = list(variant('type', { text: PART.text }), { of: 'objects', least: 0 })

const documentSource = variant('type', {
  base64: shape({ media_type: oneOf('application/pdf'), data: base64 }, 'media_type', 'data'),
  text: shape({ media_type: oneOf('text/plain'), data: anyText }, 'media_type', 'data'),
  content: shape({ content: stringOr(list(variant('type', PART), { of: 'objects', least: 0 }), 'objects') }, 'content'),
  url: fetched,
  file: stored
})

const DOCUMENT = shape({ source: documentSource, title: anyText, context: anyText, citations }, 'source')

const searchResult = notCarried('is a search result, which has no equivalent for other models; send its text.')
const resultBlocks = list(variant('type', {
  ...PART,
  document: DOCUMENT,
  search_result: searchResult,
  tool_reference: serverSide,
  browser_state: serverSide
}), { of: 'objects', least: 0 })

const userBlocks = list(variant('type', {
  ...PART,
  document: DOCUMENT,
  search_result: searchResult,
  tool_result: shape({ tool_use_id: id, content: stringOr(resultBlocks, 'objects'), is_error: boolean }, 'tool_use_id'),
  container_upload: serverSide
}), { of: 'objects' })

/** A history may hold what only Anthropic's own models once said; nobody else can use it. */
const assistantBlocks = list(variant('type', {
  text: PART.text,
  thinking: shape({ thinking: anyText }, 'thinking'),
  redacted_thinking: object,
  tool_use: shape({ id, name, input: object }, 'id', 'name', 'input'),
  ...Object.fromEntries([
    'server_tool_use', 'web_search_tool_result', 'web_fetch_tool_result', 'code_execution_tool_result', 'bash_code_execution_tool_result',
    'text_editor_code_execution_tool_result', 'tool_search_tool_result', 'mcp_tool_use', 'mcp_tool_result'
  ].map(type => [type, serverSide]))
}), { of: 'objects', least: 0 })

const MOST_MESSAGES = 10_000

/** Claude Code puts system messages among the others. */
export const messages = list(variant('role', {
  user: shape({ content: stringOr(userBlocks, 'objects') }, 'content'),
  assistant: shape({ content: stringOr(assistantBlocks, 'objects') }, 'content'),
  system: shape({ content: stringOr(textBlocks, 'objects') }, 'content')
}), { of: 'objects', most: MOST_MESSAGES })
