import type { ChatRequest } from '../wire/chat.ts'

/** English prose has about four bytes a token; other scripts have more bytes per character and more tokens too. */
const BYTES_PER_TOKEN = 4
/** A picture, a recording or a file, however large: providers charge by what is seen in it, not by its bytes. */
export const MEDIA_TOKENS = 1_000
/** Members of a content part that stand for media, and where in them the bytes or the link are. */
const MEDIA = new Map([['image_url', 'url'], ['input_audio', 'data'], ['file', 'file_data']])

/**
 * Tokens to reserve before anybody has counted them; settled with the real ones afterwards. Reads every string of the
 * prompt once, and copies nothing.
 * @param assumedOutput output of one choice when the request does not bound it
 */
export function estimateTokens (request: ChatRequest, assumedOutput: number): { input: number, output: number, media: number } {
  const prompt: Prompt = { bytes: 0, media: 0 }
  for (const part of [request.messages, request.tools, request.functions, request.response_format]) weigh(part, prompt)
  const perChoice = request.max_completion_tokens ?? request.max_tokens ?? assumedOutput
  return {
    input: Math.ceil(prompt.bytes / BYTES_PER_TOKEN) + prompt.media * MEDIA_TOKENS,
    output: perChoice * (request.n ?? 1),
    media: prompt.media
  }
}

/** The same of what has no answer: texts, or token ids, which are counted as they are. */
export function estimateInput (input: unknown): number {
  const prompt: Prompt = { bytes: 0, media: 0 }
  weigh(input, prompt)
  return Math.ceil(prompt.bytes / BYTES_PER_TOKEN) + countNumbers(input)
}

/** The same of a prompt that is no chat. */
export function estimatePrompt (parts: unknown): { input: number, media: number } {
  const prompt: Prompt = { bytes: 0, media: 0 }
  weigh(parts, prompt)
  return { input: Math.ceil(prompt.bytes / BYTES_PER_TOKEN) + prompt.media * MEDIA_TOKENS, media: prompt.media }
}

function countNumbers (value: unknown): number {
  if (typeof value === 'number') return 1
  return Array.isArray(value) ? value.reduce<number>((sum, item) => sum + countNumbers(item), 0) : 0
}

interface Prompt { bytes: number, media: number }

/** With a stack of its own: how deep a body is nested is the caller's choice. */
function weigh (root: unknown, prompt: Prompt): void {
  const rest: unknown[] = [root]
  while (rest.length > 0) {
    const value = rest.pop()
    if (typeof value === 'string') prompt.bytes += Buffer.byteLength(value)
    else if (Array.isArray(value)) for (const item of value) rest.push(item)
    else if (typeof value === 'object' && value !== null) weighMembers(value as Record<string, unknown>, prompt, rest)
  }
}

function weighMembers (object: Record<string, unknown>, prompt: Prompt, rest: unknown[]): void {
  for (const [key, value] of Object.entries(object)) {
    if (isMedia(key, value)) prompt.media++
    else rest.push(value)
  }
}

function isMedia (key: string, value: unknown): boolean {
  const member = MEDIA.get(key)
  if (member === undefined) return false
  if (typeof value === 'string') return value.startsWith('data:')
  return typeof value === 'object' && value !== null && typeof (value as Record<string, unknown>)[member] === 'string'
}
