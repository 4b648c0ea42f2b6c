/**
 * A model that says what a test wants, token by token, written when the test runs: a GPT-2 whose attention and layers are
 * nothing, so that where a token stands alone decides what comes next. A letter is a token, and so is each of `controls`.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chat, completion, user, workerOnPort } from './spawned.ts'

export interface Script {
  /** Null for a file without one. */
  readonly template: string | null
  /** Control tokens; the last one ends an answer. */
  readonly controls: readonly string[]
  /** What is said from which place on; then the answer ends. Elsewhere it says the alphabet. An answer begins at the place that is the length of its prompt. */
  readonly says: ReadonlyMap<number, string>
  readonly fillsGaps?: boolean
}

/** Longest sequence. */
export const SCRIPT_TOKENS = 1024

/** The most tokens of an answer. */
const ANSWER_TOKENS = 200

interface Owner { teardown (end: () => void): void, testdir (): string }

export interface Answers extends Omit<Script, 'says'> {
  readonly answers: readonly string[]
  /** Of the prompt to the first answer; that to the next is longer by the most tokens of an answer. */
  readonly promptTokens?: number
}

export interface Scripted {
  readonly url: string
  /** Asks for the answer of this number; the message is as long as that takes. */
  ask (answer: number, body?: Record<string, unknown>, headers?: Record<string, string>): Promise<Response>
}

/** A worker with a model of its own, which knows these answers. */
export async function scripted (owner: Owner, { answers, promptTokens = 224, ...script }: Answers, ...args: string[]): Promise<Scripted> {
  const place = (answer: number): number => promptTokens + answer * ANSWER_TOKENS
  const says = new Map(answers.map((text, answer) => [place(answer), text]))
  const { url } = await workerOnPort(owner, '--model', writeScripted(join(owner.testdir(), 'scripted.gguf'), { ...script, says }), ...args)
  return {
    url,
    async ask (answer, body = {}, headers = {}) {
      const { usage } = await completion(url, { ...body, stream: false, stream_options: null, n: 1, response_format: null, tool_choice: 'auto', messages: user('x'), max_tokens: 1 })
      return chat(url, { ...body, messages: user('x'.repeat(place(answer) - usage.prompt_tokens + 1)) }, { headers })
    }
  }
}

type Value = [key: string, type: number, value: string | number | boolean | readonly (string | number)[]]
interface Tensor { readonly name: string, readonly shape: readonly number[], readonly values: Float32Array | null }

const [U32, I32, F32, BOOL, STRING, ARRAY] = [4, 5, 6, 7, 8, 9]
const ALIGNMENT = 32
const LETTER_A = 97
const GAP = ['<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>']

export function writeScripted (file: string, script: Script): string {
  const controls = [...script.fillsGaps === true ? GAP : [], ...script.controls]
  const letters = [...byteLetters(), 'zq']
  const tokens = [...letters, ...controls]
  const id = (text: string): number => tokens.indexOf(text)
  const end = tokens.length - 1
  const next = new Map<number, number>()
  for (const [place, text] of script.says) {
    [...tokensOf(text, controls, letters)].map(id).concat(end).forEach((token, at) => { next.set(place - 1 + at, token) })
  }
  const values: Value[] = [
    ['general.architecture', STRING, 'gpt2'], ['general.name', STRING, 'scripted'], ['general.license', STRING, 'mit'],
    ['gpt2.context_length', U32, SCRIPT_TOKENS], ['gpt2.embedding_length', U32, SCRIPT_TOKENS], ['gpt2.block_count', U32, 1],
    ['gpt2.feed_forward_length', U32, 32], ['gpt2.attention.head_count', U32, 16], ['gpt2.attention.layer_norm_epsilon', F32, 1e-5],
    ['tokenizer.ggml.model', STRING, 'gpt2'], ['tokenizer.ggml.pre', STRING, 'gpt-2'], ['tokenizer.ggml.tokens', ARRAY, tokens],
    ['tokenizer.ggml.token_type', ARRAY, tokens.map((_, at) => at < letters.length ? 1 : 3)], ['tokenizer.ggml.merges', ARRAY, ['z q']],
    ['tokenizer.ggml.bos_token_id', U32, end], ['tokenizer.ggml.eos_token_id', U32, end], ['tokenizer.ggml.add_bos_token', BOOL, false],
    ...script.fillsGaps === true ? GAP.map((text, at): Value => [`tokenizer.ggml.fim_${['pre', 'suf', 'mid'][at]}_token_id`, U32, id(text)]) : [],
    ...script.template === null ? [] : [['tokenizer.chat_template', STRING, script.template] as Value]
  ]
  writeFileSync(file, gguf(values, tensors(tokens.length, next)))
  return file
}

/** Of each place one number is 1, and in the last layer that number speaks for the token that comes next. */
function tensors (vocabulary: number, next: ReadonlyMap<number, number>): Tensor[] {
  const [places, logits] = [new Float32Array(SCRIPT_TOKENS ** 2), new Float32Array(SCRIPT_TOKENS * vocabulary)]
  for (let place = 0; place < SCRIPT_TOKENS; place++) {
    places[place * SCRIPT_TOKENS + place] = 1
    logits[(next.get(place) ?? LETTER_A + place % 26) * SCRIPT_TOKENS + place] = 1
  }
  const d = SCRIPT_TOKENS
  const norm = (name: string): Tensor[] => [{ name: `${name}.weight`, shape: [d], values: new Float32Array(d).fill(1) }, { name: `${name}.bias`, shape: [d], values: new Float32Array(d) }]
  const nothing = (name: string, from: number, to: number): Tensor[] => [{ name: `${name}.weight`, shape: [from, to], values: null }, { name: `${name}.bias`, shape: [to], values: new Float32Array(to) }]
  return [
    { name: 'token_embd.weight', shape: [d, vocabulary], values: null }, { name: 'position_embd.weight', shape: [d, d], values: places },
    ...norm('output_norm'), { name: 'output.weight', shape: [d, vocabulary], values: logits },
    ...norm('blk.0.attn_norm'), ...nothing('blk.0.attn_qkv', d, 3 * d), ...nothing('blk.0.attn_output', d, d),
    ...norm('blk.0.ffn_norm'), ...nothing('blk.0.ffn_up', d, 32), ...nothing('blk.0.ffn_down', 32, d)
  ]
}

/** As GPT-2 writes bytes: those that are no visible letter get one of their own. */
function byteLetters (): string[] {
  const isVisible = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  let hidden = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isVisible(byte) ? byte : hidden++))
}

function * tokensOf (text: string, controls: readonly string[], letters: readonly string[]): Generator<string> {
  for (let at = 0; at < text.length;) {
    const control = controls.find(one => text.startsWith(one, at))
    if (control !== undefined) yield control
    else yield * [...Buffer.from(String.fromCodePoint(text.codePointAt(at)!))].map(byte => letters[byte]!)
    at += control?.length ?? String.fromCodePoint(text.codePointAt(at)!).length
  }
}

function gguf (values: readonly Value[], all: readonly Tensor[]): Buffer {
  const pieces: Buffer[] = [Buffer.from('GGUF'), u32(3), u64(all.length), u64(values.length)]
  for (const [key, type, value] of values) pieces.push(words(key), u32(type), ...valueOf(type, value))
  let offset = 0
  const data: Buffer[] = []
  for (const { name, shape, values: floats } of all) {
    pieces.push(words(name), u32(shape.length), ...shape.map(u64), u32(floats === null ? 8 : 0), u64(offset))
    // What is nothing is written as Q8_0, to be small: 34 bytes for 32 numbers.
    const bytes = floats === null ? Buffer.alloc(shape.reduce((a, b) => a * b) / 32 * 34) : Buffer.from(floats.buffer)
    data.push(bytes, padding(bytes.length))
    offset += bytes.length + padding(bytes.length).length
  }
  const head = Buffer.concat(pieces)
  return Buffer.concat([head, padding(head.length), ...data])
}

function valueOf (type: number, value: Value[2]): Buffer[] {
  if (Array.isArray(value)) {
    const isText = typeof value[0] === 'string'
    return [u32(isText ? STRING! : I32!), u64(value.length), ...value.map(one => isText ? words(one as string) : u32(one as number))]
  }
  if (type === STRING) return [words(value as string)]
  if (type === BOOL) return [Buffer.from([value === true ? 1 : 0])]
  if (type === F32) { const bytes = Buffer.alloc(4); bytes.writeFloatLE(value as number); return [bytes] }
  return [u32(value as number)]
}

function u32 (value: number): Buffer { const bytes = Buffer.alloc(4); bytes.writeUInt32LE(value); return bytes }
function u64 (value: number): Buffer { const bytes = Buffer.alloc(8); bytes.writeBigUInt64LE(BigInt(value)); return bytes }
function words (value: string): Buffer { return Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]) }
function padding (length: number): Buffer { return Buffer.alloc((ALIGNMENT - length % ALIGNMENT) % ALIGNMENT) }
