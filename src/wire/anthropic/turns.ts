/**
 * The messages of a chat as turns of Anthropic's Messages API, which alternate between user and assistant.
 * Source: Messages API reference, "Create a Message", and "Tool use", read 2026-11-22.
 */
import { isObject, type Members } from '../check.ts'
import { unsupported } from '../untranslatable.ts'

export type Block = Members & { readonly type: string }
export interface Turn { readonly role: 'user' | 'assistant', readonly content: Block[] }
export interface Conversation { readonly system: Block[], readonly turns: Turn[] }

/**
 * Instructions (`system`, `developer`) go in front together, wherever they stood, as Anthropic's own compatibility layer does.
 * Results of tools become a part of the user's turn; neighbours of one role become one turn; empty texts, which say nothing and
 * are not accepted, are left out, and so are thoughts without Anthropic's signature, which it takes back from nobody.
 * @param messages validated
 */
export function toConversation (messages: readonly unknown[]): Conversation {
  const conversation: Conversation = { system: [], turns: [] }
  for (const [index, message] of (messages as Members[]).entries()) add(message, `messages[${index}]`, conversation)
  if (conversation.turns.length === 0) throw unsupported('messages', 'Anthropic needs a message of the user that says something.')
  return conversation
}

function add (message: Members, path: string, { system, turns }: Conversation): void {
  switch (message['role']) {
    case 'system':
    case 'developer':
      refuseName(message, path)
      system.push(...texts(message['content'], `${path}.content`))
      return
    case 'user':
      refuseName(message, path)
      speak(turns, 'user', parts(message['content'], `${path}.content`, userPart))
      return
    case 'assistant':
      refuseName(message, path)
      speak(turns, 'assistant', assistantBlocks(message, path))
      return
    case 'tool':
      speak(turns, 'user', [toolResult(message, path)])
      return
    default:
      throw unsupported(`${path}.role`, 'this role has no counterpart at Anthropic; use tool.')
  }
}

function speak (turns: Turn[], role: Turn['role'], blocks: readonly Block[]): void {
  if (blocks.length === 0) return
  const last = turns.at(-1)
  if (last?.role === role) last.content.push(...blocks)
  else turns.push({ role, content: [...blocks] })
}

function refuseName (message: Members, path: string): void {
  if (message['name'] !== undefined) throw unsupported(`${path}.name`, 'Anthropic\'s messages have no name. Write it into the text.')
}

type PartOf = (part: Members, path: string) => Block

/** A text or a list of parts. */
function parts (content: unknown, path: string, partOf: PartOf): Block[] {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  if (!Array.isArray(content)) return []
  return (content as Members[]).map((part, at) => partOf(part, `${path}[${at}]`)).filter(block => block['text'] !== '')
}

function texts (content: unknown, path: string): Block[] { return parts(content, path, textPart) }

/** A mark that callers set themselves stays, as Anthropic defines it. */
function marked (part: Members, block: Block): Block {
  return isObject(part['cache_control']) ? { ...block, cache_control: part['cache_control'] } : block
}

function textPart (part: Members, path: string): Block {
  if (part['type'] === 'text') return marked(part, { type: 'text', text: part['text'] })
  if (part['type'] === 'refusal') return { type: 'text', text: part['refusal'] }
  throw unsupported(`${path}.type`, 'only text can stand here.')
}

function userPart (part: Members, path: string): Block {
  if (part['type'] === 'image_url') return marked(part, image(part['image_url'] as Members, `${path}.image_url`))
  if (part['type'] === 'file') return marked(part, pdf(part['file'] as Members, `${path}.file`))
  if (part['type'] === 'input_audio') throw unsupported(path, 'Anthropic\'s models do not listen to audio.')
  return textPart(part, path)
}

const IMAGE = /^data:(image\/(?:jpeg|png|gif|webp));base64,/i

function image ({ url, detail = 'auto' }: Members, path: string): Block {
  if (detail === 'low') throw unsupported(`${path}.detail`, 'Anthropic\'s models see an image as it is; scale it down, or leave detail out.')
  const text = url as string
  if (/^https:\/\//i.test(text)) return { type: 'image', source: { type: 'url', url: text } }
  const [head, type] = IMAGE.exec(text.slice(0, 64)) ?? []
  if (head === undefined) throw unsupported(`${path}.url`, 'Anthropic takes JPEG, PNG, GIF and WebP as base64.')
  return { type: 'image', source: { type: 'base64', media_type: type!.toLowerCase(), data: text.slice(head.length) } }
}

const PDF = /^data:application\/pdf;base64,/i

function pdf ({ file_data: data, filename }: Members, path: string): Block {
  const [head] = typeof data === 'string' ? PDF.exec(data.slice(0, 64)) ?? [] : []
  if (head === undefined) throw unsupported(path, 'of files Anthropic takes a PDF as a data: URL in file_data.')
  return {
    type: 'document',
    source: { type: 'base64', media_type: 'application/pdf', data: (data as string).slice(head.length) },
    ...filename !== undefined && { title: filename }
  }
}

function assistantBlocks (message: Members, path: string): Block[] {
  for (const name of ['audio', 'function_call']) {
    if (message[name] !== undefined) throw unsupported(`${path}.${name}`, 'it has no counterpart at Anthropic.')
  }
  const refusal = message['refusal']
  return [
    ...thoughts(message['thinking_blocks']),
    ...parts(message['content'], `${path}.content`, textPart),
    ...typeof refusal === 'string' && refusal !== '' ? [{ type: 'text', text: refusal }] : [],
    ...((message['tool_calls'] ?? []) as Members[]).map((call, at) => toolUse(call, `${path}.tool_calls[${at}]`))
  ]
}

/** As `toCompletion` gave them: Anthropic knows its own by their signature and refuses any other. */
function thoughts (blocks: unknown): Block[] {
  if (!Array.isArray(blocks)) return []
  return blocks.filter((block): block is Block => isObject(block) && (block['type'] === 'thinking' || block['type'] === 'redacted_thinking'))
}

function toolUse (call: Members, path: string): Block {
  if (call['type'] !== 'function') throw unsupported(`${path}.type`, 'Anthropic knows functions only.')
  const { name, arguments: text } = call['function'] as Members
  return { type: 'tool_use', id: callId(call['id']), name, input: inputOf(text as string, `${path}.function.arguments`) }
}

function inputOf (text: string, path: string): Members {
  if (text.trim() === '') return {}
  let value: unknown
  try { value = JSON.parse(text) } catch { value = null }
  if (!isObject(value)) throw unsupported(path, 'Anthropic takes arguments that are a JSON object.')
  return value
}

function toolResult (message: Members, path: string): Block {
  const content = texts(message['content'], `${path}.content`)
  return { type: 'tool_result', tool_use_id: callId(message['tool_call_id']), ...content.length > 0 && { content } }
}

/** Anthropic is stricter about ids than those who made the call. The call and its result are changed alike. */
function callId (id: unknown): string {
  return String(id).replaceAll(/[^A-Za-z0-9_-]/g, '_')
}
