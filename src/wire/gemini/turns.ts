/**
 * The messages of a chat as Gemini's contents, whose roles are `user` and `model`. Source: reference of Content and Part, "Function
 * calling" and "Thought signatures", read 2026-11-22.
 */
import { isObject, type Members } from '../check.ts'
import { unsupported } from '../untranslatable.ts'

export interface Content { readonly role: 'user' | 'model', readonly parts: Members[] }
export interface Conversation { readonly system: Members[], readonly contents: Content[] }

/** Accepted by Gemini 3 in place of a signature that is not there, for calls that it did not make or whose signature was lost. */
const NO_SIGNATURE = 'skip_thought_signature_validator'

/**
 * Instructions (`system`, `developer`) go in front together, wherever they stood. Neighbours of one role become one content; empty
 * texts, which say nothing, are left out.
 * @param messages validated
 * @param needsSignatures the model refuses calls in the history that have none
 */
export function toConversation (messages: readonly unknown[], needsSignatures: boolean): Conversation {
  const conversation: Conversation = { system: [], contents: [] }
  const names = new Map<unknown, unknown>()
  for (const [index, message] of (messages as Members[]).entries()) {
    const path = `messages[${index}]`
    if (message['name'] !== undefined && message['role'] !== 'tool') throw unsupported(`${path}.name`, 'Gemini\'s contents have no name. Write it into the text.')
    switch (message['role']) {
      case 'system':
      case 'developer':
        conversation.system.push(...parts(message['content'], `${path}.content`, textPart))
        break
      case 'user':
        speak(conversation.contents, 'user', parts(message['content'], `${path}.content`, userPart))
        break
      case 'assistant':
        speak(conversation.contents, 'model', assistantParts(message, path, names, needsSignatures))
        break
      case 'tool':
        speak(conversation.contents, 'user', [toolResult(message, path, names)])
        break
      default:
        throw unsupported(`${path}.role`, 'this role has no counterpart at Gemini; use tool.')
    }
  }
  if (conversation.contents.length === 0) throw unsupported('messages', 'Gemini needs a message of the user that says something.')
  return conversation
}

function speak (contents: Content[], role: Content['role'], said: readonly Members[]): void {
  if (said.length === 0) return
  const last = contents.at(-1)
  if (last?.role === role) last.parts.push(...said)
  else contents.push({ role, parts: [...said] })
}

type PartOf = (part: Members, path: string) => Members

/** A text or a list of parts. */
function parts (content: unknown, path: string, partOf: PartOf): Members[] {
  if (typeof content === 'string') return content === '' ? [] : [{ text: content }]
  if (!Array.isArray(content)) return []
  return (content as Members[]).map((part, at) => partOf(part, `${path}[${at}]`)).filter(({ text }) => text !== '')
}

function textPart (part: Members, path: string): Members {
  if (part['type'] === 'text') return { text: part['text'] }
  if (part['type'] === 'refusal') return { text: part['refusal'] }
  throw unsupported(`${path}.type`, 'only text can stand here.')
}

function userPart (part: Members, path: string): Members {
  if (part['type'] === 'image_url') return image(part['image_url'] as Members, `${path}.image_url`)
  if (part['type'] === 'input_audio') return audio(part['input_audio'] as Members)
  if (part['type'] === 'file') return pdf(part['file'] as Members, `${path}.file`)
  return textPart(part, path)
}

function inline (mimeType: string, data: unknown): Members { return { inlineData: { mimeType, data } } }

const IMAGE = /^data:(image\/(?:jpeg|png|webp|heic|heif));base64,/i

function image ({ url, detail = 'auto' }: Members, path: string): Members {
  if (detail === 'low') throw unsupported(`${path}.detail`, 'Gemini sees an image as it is; scale it down, or leave detail out.')
  const [head, type] = IMAGE.exec((url as string).slice(0, 64)) ?? []
  if (head === undefined) throw unsupported(`${path}.url`, 'Gemini takes JPEG, PNG, WebP, HEIC and HEIF as base64 in a data: URL.')
  return inline(type!.toLowerCase(), (url as string).slice(head.length))
}

/** `wav` or `mp3`. */
function audio ({ data, format }: Members): Members { return inline(`audio/${format}`, data) }

const PDF = /^data:application\/pdf;base64,/i

function pdf ({ file_data: data }: Members, path: string): Members {
  const [head] = typeof data === 'string' ? PDF.exec(data.slice(0, 64)) ?? [] : []
  if (head === undefined) throw unsupported(path, 'of files Gemini takes a PDF as a data: URL in file_data.')
  return inline('application/pdf', (data as string).slice(head.length))
}

function assistantParts (message: Members, path: string, names: Map<unknown, unknown>, needsSignatures: boolean): Members[] {
  for (const name of ['audio', 'function_call']) {
    if (message[name] !== undefined) throw unsupported(`${path}.${name}`, 'it has no counterpart at Gemini.')
  }
  const refusal = message['refusal']
  const calls = ((message['tool_calls'] ?? []) as Members[]).map((call, at) => functionCall(call, `${path}.tool_calls[${at}]`, names))
  const [first] = calls
  // Of calls beside each other the first alone has one.
  if (needsSignatures && first !== undefined) first['thoughtSignature'] ??= NO_SIGNATURE
  return [
    ...parts(message['content'], `${path}.content`, textPart),
    ...typeof refusal === 'string' && refusal !== '' ? [{ text: refusal }] : [],
    ...calls
  ]
}

function functionCall (call: Members, path: string, names: Map<unknown, unknown>): Members {
  if (call['type'] !== 'function') throw unsupported(`${path}.type`, 'the Gemini API takes functions only.')
  const { id, function: called } = call
  const { name, arguments: text } = called as Members
  names.set(id, name)
  const signature = signatureOf(call)
  return { functionCall: { id, name, args: argsOf(text as string, `${path}.function.arguments`) }, ...signature !== null && { thoughtSignature: signature } }
}

/** Where Google's own compatible API puts it, and `toCompletion` does. */
function signatureOf ({ extra_content: extra }: Members): string | null {
  const google = isObject(extra) ? extra['google'] : null
  const signature = isObject(google) ? google['thought_signature'] : null
  return typeof signature === 'string' ? signature : null
}

function argsOf (text: string, path: string): Members {
  if (text.trim() === '') return {}
  let value: unknown
  try { value = JSON.parse(text) } catch { value = null }
  if (!isObject(value)) throw unsupported(path, 'Gemini takes arguments that are a JSON object.')
  return value
}

/** A result has the name of its function, too, which stands in the call that it answers. */
function toolResult (message: Members, path: string, names: ReadonlyMap<unknown, unknown>): Members {
  const id = message['tool_call_id']
  const name = names.get(id)
  if (name === undefined) throw unsupported(`${path}.tool_call_id`, 'no message before this one calls a tool with this id, so Gemini cannot be told whose result it is.')
  const output = parts(message['content'], `${path}.content`, textPart).map(({ text }) => text).join('')
  return { functionResponse: { id, name, response: { output } } }
}
