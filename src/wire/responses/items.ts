/** What the input of a Responses request may hold. Source: OpenAI API reference, "Create a model response", read 2026-11-22. */
import { all, isObject, list, missing, oneOf, shape, stringOr, text, variant, within, wrongType } from '../check.ts'
import type { Check, Fault, Members } from '../check.ts'
import { imageUrl, noAddress } from '../conversation.ts'

export const MOST_ITEMS = 10_000

/** Items that only OpenAI's own tools and state make. */
const NOT_SERVED = new Set([
  'additional_tools', 'apply_patch_call', 'apply_patch_call_output', 'code_interpreter_call', 'compaction_trigger', 'computer_call',
  'computer_call_output', 'configuration_update', 'file_search_call', 'image_generation_call', 'local_shell_call', 'local_shell_call_output',
  'mcp_approval_request', 'mcp_approval_response', 'mcp_call', 'mcp_list_tools', 'program', 'program_output', 'shell_call', 'shell_call_output',
  'tool_search_call', 'tool_search_output', 'web_search_call'
])

const notServed = (what: string): Fault => ({ code: 'unsupported_value', path: '', says: path => `Invalid value for '${path}': ${what}` })
const uploaded: Check = () => notServed('uploaded files are not served; send the content itself.')

const anyText = text()
const inputText = shape({ text: anyText }, 'text')
const inputImage = all(
  shape({ image_url: imageUrl, file_id: uploaded, detail: oneOf('auto', 'low', 'high', 'original') }),
  value => (value as Members)['image_url'] === undefined ? missing('image_url') : null
)
const inputFile = all(
  shape({ file_data: noAddress('the file'), filename: anyText, file_id: uploaded, file_url: () => notServed('the gateway fetches no addresses; send file_data.'), detail: oneOf('auto', 'low', 'high') }),
  value => (value as Members)['file_data'] === undefined ? missing('file_data') : null
)
const inputAudio = shape({ input_audio: shape({ data: noAddress('the audio'), format: oneOf('wav', 'mp3') }, 'data', 'format') }, 'input_audio')
const outputText = shape({ text: anyText, logprobs: list(() => null, { of: 'objects', least: 0 }), annotations: list(() => null, { of: 'objects', least: 0 }) }, 'text')
const refusal = shape({ refusal: anyText }, 'refusal')

const parts = (kinds: Record<string, Check>) => stringOr(list(variant('type', kinds), { of: 'objects', least: 0 }), 'objects')
const CONTENT: Readonly<Record<string, Check>> = {
  user: parts({ input_text: inputText, input_image: inputImage, input_file: inputFile, input_audio: inputAudio }),
  system: parts({ input_text: inputText }),
  developer: parts({ input_text: inputText }),
  assistant: parts({ output_text: outputText, refusal, input_text: inputText })
}

const status = oneOf('in_progress', 'completed', 'incomplete')
const role = oneOf('user', 'assistant', 'system', 'developer')
const phase = oneOf('commentary', 'final_answer')
const itemId = text({ most: 512 })
const callId = text({ least: 1, most: 512 })
const calledName = text({ least: 1, most: 256 })

const message = all(shape({ role, id: itemId, status, phase }, 'role', 'content'), value => {
  const fault = CONTENT[(value as Members)['role'] as string]!((value as Members)['content'])
  return fault === null ? null : within('content', fault)
})
const called = { call_id: callId, name: calledName, namespace: calledName, id: itemId, status }
const elsewhere = (what: string): Check => () => notServed(`the output of a tool is text here; send ${what} in a message.`)
const toolOutput = parts({ input_text: inputText, input_image: elsewhere('an image'), input_file: elsewhere('a file') })
const answered = shape({ call_id: callId, output: toolOutput, id: itemId, status }, 'call_id', 'output')
const thought = shape({ text: anyText }, 'text')

const ITEMS = {
  message,
  function_call: shape({ ...called, arguments: anyText }, 'call_id', 'name', 'arguments'),
  custom_tool_call: shape({ ...called, input: anyText }, 'call_id', 'name', 'input'),
  function_call_output: answered,
  custom_tool_call_output: answered,
  reasoning: shape({
    id: itemId,
    status,
    summary: list(variant('type', { summary_text: thought }), { of: 'objects', least: 0 }),
    content: list(variant('type', { reasoning_text: thought }), { of: 'objects', least: 0 }),
    encrypted_content: anyText
  }),
  compaction: shape({ id: itemId, encrypted_content: text({ least: 1 }) }, 'encrypted_content'),
  item_reference: shape({ id: itemId }, 'id')
}
const known = variant('type', ITEMS)

/** An item without a type is a message when it has a role, and a reference when it has an id alone. */
function item (value: unknown): Fault | null {
  if (!isObject(value)) return wrongType('an object', value)
  value['type'] ??= value['role'] === undefined && value['id'] !== undefined ? 'item_reference' : 'message'
  const type = value['type']
  if (typeof type === 'string' && NOT_SERVED.has(type)) return within('type', notServed(`items of the type ${type} are not served.`))
  return known(value)
}

export const input: Check = stringOr(list(item, { of: 'objects', least: 0, most: MOST_ITEMS }), 'objects')

const FETCHED: Readonly<Record<string, Check>> = { image_url: imageUrl, file_id: uploaded, file_url: () => notServed('no backend is told addresses to fetch; send file_data.') }

/** What a backend would fetch, or take from the operator's account, wherever it stands. */
const unfetched: Check = value => {
  if (typeof value !== 'object' || value === null) return null
  for (const [name, member] of Object.entries(value)) {
    const fault = typeof member === 'string' ? FETCHED[name]?.(member) ?? null : unfetched(member)
    if (fault !== null) return within(Array.isArray(value) ? Number(name) : name, fault)
  }
  return null
}

/** What is declared for the caller's own use may call its members as it likes. */
const DECLARED: ReadonlySet<unknown> = new Set(['function', 'custom', 'namespace'])
const OWNED: ReadonlySet<string> = new Set(['container_id', 'file_ids', 'skill_id'])

/** A hosted tool is told no addresses of images and files, and nothing that lies in the operator's account: containers, files, skills. */
export const hostedTool: Check = value => DECLARED.has((value as Members)['type']) ? null : unfetched(value) ?? unowned(value)

const unowned: Check = value => {
  if (typeof value !== 'object' || value === null) return null
  for (const [name, member] of Object.entries(value)) {
    const isOwned = OWNED.has(name) || (name === 'container' && typeof member === 'string')
    const fault = isOwned ? notServed("what lies in the operator's account is not the caller's to use.") : unowned(member)
    if (fault !== null) return within(Array.isArray(value) ? Number(name) : name, fault)
  }
  return null
}

/** Items that a backend reads which speaks the dialect: those known here as above, of the others little more than the type. */
function nativeItem (value: unknown): Fault | null {
  return isObject(value) && typeof value['type'] === 'string' && NOT_SERVED.has(value['type']) ? unfetched(value) : item(value)
}

export const nativeInput: Check = stringOr(list(nativeItem, { of: 'objects', least: 0, most: MOST_ITEMS }), 'objects')

/** A string is one message of the user. */
export function itemsOf (given: unknown): Members[] {
  return typeof given === 'string' ? [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: given }] }] : given as Members[]
}
