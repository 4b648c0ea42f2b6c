/** Input items of a Responses request as chat messages. */
import { GatewayError } from '../../errors.ts'
import type { Members } from '../check.ts'
import { customArguments, functionName } from './tools.ts'

/** The messages, and what could not be said in them. */
export interface Conversation { readonly messages: readonly Members[], readonly warnings: readonly string[] }

/**
 * Checked items to messages. What an assistant said and called in a row is one message, because chat completions want
 * the answers of tools right behind the message that calls them; instructions and what system and developer say at the
 * start are one message, because the templates of many models take no second one.
 * @param items what the caller sent
 * @param earlier what was said in the responses before
 * @throws GatewayError for an output without its call, a call without its output, and for what has to be looked up or opened before
 */
export function toMessages (instructions: string | null, items: readonly Members[], earlier: readonly Members[] = []): Conversation {
  const spoken = [...earlier, ...items]
  checkCalls(spoken, earlier.length)
  const talk = new Talk()
  for (const [index, one] of spoken.entries()) talk.add(one, `input[${index - earlier.length}]`)
  const said = talk.end()
  const first = said.findIndex(({ role: who }) => who !== 'system' && who !== 'developer')
  const leading = said.slice(0, first === -1 ? said.length : first).map(({ content }) => content as string)
  if (instructions !== null) leading.unshift(instructions)
  const rest = said.slice(first === -1 ? said.length : first)
  const messages = leading.length === 0 ? rest : [{ role: 'system', content: leading.join('\n\n') }, ...rest]
  return { messages, warnings: talk.warnings }
}

/** Calls and outputs belong together. Ids are repeated only where they look like ids. */
function checkCalls (items: readonly Members[], earlier: number): void {
  const open = new Set<unknown>()
  const made = new Set<unknown>()
  for (const [index, one] of items.entries()) {
    const id = one['call_id']
    if (isCall(one)) {
      open.add(id)
      made.add(id)
    } else if (one['type'] === 'function_call_output' || one['type'] === 'custom_tool_call_output') {
      if (!made.has(id)) throw unpaired(`No tool call found for tool call output${withId(id)}.`, `input[${index - earlier}].call_id`)
      open.delete(id)
    }
  }
  for (const id of open) throw unpaired(`No tool output found for function call${withId(id)}.`, 'input')
}

function isCall ({ type }: Members): boolean { return type === 'function_call' || type === 'custom_tool_call' }

function withId (id: unknown): string { return typeof id === 'string' && /^[\w.-]{1,64}$/.test(id) ? ` ${id}` : '' }

function unpaired (message: string, param: string): GatewayError { return new GatewayError('invalid_value', message, { param }) }

/** Items in, messages out. */
class Talk {
  readonly warnings: string[] = []
  readonly #messages: Members[] = []
  /** The message of the assistant that may still grow. */
  #open: Members | null = null

  add (one: Members, path: string): void {
    switch (one['type']) {
      case 'message': return this.#message(one)
      case 'reasoning': return this.#reasoning(one, path)
      case 'function_call': return this.#call(one, one['arguments'] as string)
      case 'custom_tool_call': return this.#call(one, customArguments(one['input'] as string))
      case 'item_reference':
      case 'compaction':
        throw new GatewayError('unsupported_value', `Invalid value for '${path}': it cannot be read here; send the item itself.`, { param: path })
      case 'function_call_output':
      case 'custom_tool_call_output':
        this.#close()
        this.#messages.push({ role: 'tool', tool_call_id: one['call_id'], content: outputOf(one['output']) })
        return
      default:
        this.warnings.push(`${path}: ${String(one['type'])} cannot be told to this model and was left out`)
    }
  }

  end (): Members[] {
    this.#close()
    return this.#messages
  }

  #message ({ role: who, content }: Members): void {
    if (who !== 'assistant') {
      this.#close()
      this.#messages.push({ role: who, content: who === 'user' ? userContent(content) : plain(content) })
      return
    }
    const { said, refused } = answerOf(content)
    if (this.#open !== null && this.#open['content'] !== undefined && this.#open['tool_calls'] === undefined) this.#close()
    const open = this.#assistant()
    open['content'] = open['content'] === undefined ? said : `${open['content'] as string}\n\n${said}`
    if (refused !== '') open['refusal'] = refused
  }

  #reasoning ({ content, summary }: Members, path: string): void {
    const parts = [content, summary].find((found): found is Members[] => Array.isArray(found) && found.length > 0)
    if (parts === undefined) {
      this.warnings.push(`${path}: encrypted reasoning cannot be read here and was left out`)
      return
    }
    const thoughts = parts.map(part => part['text'] as string).join('\n\n')
    // What is thought after speaking belongs to what is said next.
    if (this.#open !== null && (this.#open['content'] !== undefined || this.#open['tool_calls'] !== undefined)) this.#close()
    const open = this.#assistant()
    open['reasoning_content'] = open['reasoning_content'] === undefined ? thoughts : `${open['reasoning_content'] as string}\n\n${thoughts}`
  }

  #call (one: Members, args: string): void {
    const name = functionName((one['namespace'] ?? null) as string | null, one['name'] as string)
    const open = this.#assistant()
    const calls = (open['tool_calls'] ??= []) as Members[]
    calls.push({ id: one['call_id'], type: 'function', function: { name, arguments: args } })
  }

  #assistant (): Members { return this.#open ??= { role: 'assistant' } }

  #close (): void {
    if (this.#open === null) return
    // Reasoning alone is what is left of an answer that was broken off.
    this.#messages.push({ ...this.#open, content: this.#open['content'] ?? (this.#open['tool_calls'] === undefined ? '' : null) })
    this.#open = null
  }
}

/** Text of instructions and of what an assistant said. */
function plain (content: unknown): string {
  return typeof content === 'string' ? content : (content as Members[]).map(part => (part['text'] ?? '') as string).join('')
}

function answerOf (content: unknown): { said: string, refused: string } {
  const refused = typeof content === 'string' ? '' : (content as Members[]).map(part => (part['refusal'] ?? '') as string).join('')
  return { said: plain(content), refused }
}

function userContent (content: unknown): unknown {
  if (typeof content === 'string') return content
  const parts = (content as Members[]).map(userPart)
  return parts.length === 0 ? '' : parts.length === 1 && parts[0]!['type'] === 'text' ? parts[0]!['text'] : parts
}

function userPart (part: Members): Members {
  switch (part['type']) {
    case 'input_image': return { type: 'image_url', image_url: { url: part['image_url'], ...part['detail'] !== undefined && { detail: part['detail'] } } }
    case 'input_file': return { type: 'file', file: { file_data: part['file_data'], ...part['filename'] !== undefined && { filename: part['filename'] } } }
    case 'input_audio': return { type: 'input_audio', input_audio: part['input_audio'] }
    default: return { type: 'text', text: part['text'] }
  }
}

function outputOf (output: unknown): string {
  return typeof output === 'string' ? output : (output as Members[]).map(part => part['text'] as string).join('\n')
}
