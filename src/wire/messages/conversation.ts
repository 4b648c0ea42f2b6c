/** System text and messages of a checked Messages request, as messages of a chat completion. */
import { invalidValue, toError, within, type Members } from '../check.ts'

type Part = Members & { type: string }

/** A line of Claude Code for Anthropic's accounts. It differs from call to call, which would spoil every cached prompt. */
const BILLING_LINE = 'x-anthropic-billing-header:'

/** @throws GatewayError for the result of a tool that was not called before */
export function toChatMessages (body: Members): Members[] {
  const calls = new Set<string>()
  const said = (body['messages'] as Members[]).flatMap((message, index) => {
    const { role, content } = message as { role: string, content: string | Part[] }
    if (role === 'user') return userMessages(content, calls, index)
    return role === 'assistant' ? assistantMessages(content, calls) : systemMessages(content)
  })
  return [...systemMessages((body['system'] ?? []) as string | Part[]), ...said]
}

function systemMessages (system: string | Part[]): Members[] {
  const blocks = typeof system === 'string' ? [{ type: 'text', text: system }] : system
  const parts = blocks.filter(({ text }) => text !== '' && !(text as string).startsWith(BILLING_LINE)).map(textPart)
  return parts.length === 0 ? [] : [{ role: 'system', content: plain(parts) }]
}

/** Results go first, right behind the calls that they answer; then whatever else the user says. */
function userMessages (content: string | Part[], calls: ReadonlySet<string>, index: number): Members[] {
  if (typeof content === 'string') return [{ role: 'user', content }]
  const results: Members[] = []
  const parts: Part[] = []
  for (const [at, block] of content.entries()) {
    if (block.type !== 'tool_result') parts.push(...userParts(block))
    else {
      if (!calls.has(block['tool_use_id'] as string)) throw toError(uncalled(index, at))
      const { said, seen } = resultOf(block)
      results.push({ role: 'tool', tool_call_id: block['tool_use_id'], content: said })
      parts.push(...seen)
    }
  }
  return parts.length === 0 ? results : [...results, { role: 'user', content: plain(parts) }]
}

function uncalled (index: number, at: number) {
  const path = ['messages', index, 'content', at, 'tool_use_id']
  return path.reduceRight((fault, step) => within(step, fault), invalidValue("no 'tool_use' of an earlier message has this id."))
}

/** A tool message holds text only, so what a tool shows otherwise is shown by the user, right behind it. */
function resultOf (block: Part): { said: string | Part[], seen: Part[] } {
  const { content = '' } = block as { content?: string | Part[] }
  if (typeof content === 'string') return { said: content, seen: [] }
  const parts = content.flatMap(userParts)
  const said = parts.filter(({ type }) => type === 'text')
  return { said: said.length === 0 ? '' : plain(said), seen: parts.filter(({ type }) => type !== 'text') }
}

function userParts (block: Part): Part[] {
  if (block.type === 'text') return [textPart(block)]
  const { source } = block as unknown as { source: Members }
  if (block.type === 'image') return [{ type: 'image_url', image_url: { url: source['type'] === 'url' ? source['url'] : dataUrl(source) } }]
  return [...documentHead(block), ...documentParts(source, block)]
}

/** Title and context of a document are part of what a model reads. */
function documentHead ({ title, context }: Part): Part[] {
  return [title, context].filter(text => typeof text === 'string' && text !== '').map(text => ({ type: 'text', text }))
}

function documentParts (source: Members, { title }: Part): Part[] {
  const { type, data, content } = source as { type: string, data: string, content: string | Part[] }
  if (type === 'base64') return [{ type: 'file', file: { filename: title ?? 'document.pdf', file_data: dataUrl(source) } }]
  if (type === 'text') return [{ type: 'text', text: data }]
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content.flatMap(userParts)
}

function dataUrl ({ media_type: type, data }: Members): string {
  return `data:${type as string};base64,${data as string}`
}

function assistantMessages (content: string | Part[], calls: Set<string>): Members[] {
  if (typeof content === 'string') return [{ role: 'assistant', content }]
  const parts = content.filter(({ type }) => type === 'text').map(textPart)
  const thoughts = content.filter(({ type }) => type === 'thinking').map(({ thinking }) => thinking).join('')
  const used = content.filter(({ type }) => type === 'tool_use')
  for (const { id } of used) calls.add(id as string)
  if (parts.length + used.length === 0 && thoughts === '') return []
  return [{
    role: 'assistant',
    content: parts.length > 0 ? plain(parts) : used.length > 0 ? null : '',
    ...thoughts !== '' && { reasoning_content: thoughts },
    ...used.length > 0 && { tool_calls: used.map(({ id, name, input }) => ({ id, type: 'function', function: { name, arguments: JSON.stringify(input) } })) }
  }]
}

function textPart ({ text }: Members): Part {
  return { type: 'text', text }
}

/** One text alone is sent as text: every server takes that. */
function plain (parts: Part[]): string | Part[] {
  const [first] = parts
  return parts.length === 1 && first!.type === 'text' ? first!['text'] as string : parts
}
