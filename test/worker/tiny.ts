/** Writes tiny models with random weights: what a network of their kind does, without a download. */
import { writeFileSync } from 'node:fs'

const [U32, I32, F32, BOOL, STRING, ARRAY] = [4, 5, 6, 7, 8, 9] as const

interface Entry { readonly key: string, readonly type: number, readonly value: unknown, readonly of?: number }
interface Tensor { readonly name: string, readonly shape: readonly number[], readonly data: Float32Array }

export interface BertOptions {
  /** With a head that scores a pair; otherwise vectors are means. */
  readonly ranks?: boolean
  /** For pairs, with `{query}` and `{document}`. */
  readonly template?: string
}

const WIDTH = 64
const LAYERS = 2
const INNER = 128
export const BERT_CONTEXT = 512
/** Ids of the control tokens. */
export const BERT = { cls: 2, sep: 3 } as const
const WORDS = ['hello', 'world', 'the', 'cat', 'dog', 'paris', 'france', 'capital', 'of', 'is', 'what']

/** A BERT of 0.5 MB with a vocabulary of letters and a few words. */
export function writeBert (file: string, { ranks = false, template }: BertOptions = {}): void {
  const tokens = vocabulary()
  const draw = random(3)
  const matrix = matrices(draw, 0.1)
  const norm = (name: string): Tensor[] => [flat(`${name}.weight`, WIDTH, 1), flat(`${name}.bias`, WIDTH, 0)]
  const linear = (name: string, from: number, to: number): Tensor[] => [matrix(`${name}.weight`, from, to), flat(`${name}.bias`, to, 0)]
  const layer = (_: unknown, at: number): Tensor[] => [
    ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].flatMap(name => linear(`blk.${at}.${name}`, WIDTH, WIDTH)),
    ...norm(`blk.${at}.attn_output_norm`), ...linear(`blk.${at}.ffn_up`, WIDTH, INNER), ...linear(`blk.${at}.ffn_down`, INNER, WIDTH),
    ...norm(`blk.${at}.layer_output_norm`)
  ]
  const entries: Entry[] = [
    text('general.architecture', 'bert'), text('general.name', ranks ? 'tiny-rank' : 'tiny-embed'), text('general.license', 'mit'), whole('general.file_type', 0),
    whole('bert.context_length', BERT_CONTEXT), whole('bert.embedding_length', WIDTH), whole('bert.block_count', LAYERS),
    whole('bert.feed_forward_length', INNER), whole('bert.attention.head_count', 4), { key: 'bert.attention.layer_norm_epsilon', type: F32, value: 1e-12 },
    { key: 'bert.attention.causal', type: BOOL, value: false }, whole('bert.pooling_type', ranks ? 4 : 1),
    text('tokenizer.ggml.model', 'bert'), text('tokenizer.ggml.pre', 'default'), whole('tokenizer.ggml.token_type_count', 2),
    { key: 'tokenizer.ggml.tokens', type: ARRAY, of: STRING, value: tokens },
    { key: 'tokenizer.ggml.token_type', type: ARRAY, of: I32, value: tokens.map((_, id) => id === 1 ? 2 : id < 5 ? 3 : 1) },
    whole('tokenizer.ggml.padding_token_id', 0), whole('tokenizer.ggml.unknown_token_id', 1), whole('tokenizer.ggml.cls_token_id', BERT.cls),
    whole('tokenizer.ggml.bos_token_id', BERT.cls), whole('tokenizer.ggml.seperator_token_id', BERT.sep), whole('tokenizer.ggml.mask_token_id', 4),
    ...template === undefined ? [] : [text('tokenizer.chat_template.rerank', template)]
  ]
  writeGguf(file, entries, [
    { ...matrix('token_embd.weight', WIDTH, tokens.length), data: noise(WIDTH * tokens.length, 1, draw) },
    matrix('token_types.weight', WIDTH, 2), matrix('position_embd.weight', WIDTH, BERT_CONTEXT), ...norm('token_embd_norm'),
    ...Array.from({ length: LAYERS }, layer).flat(),
    ...ranks ? [...linear('cls', WIDTH, WIDTH), { ...matrix('cls.output.weight', WIDTH, 1), data: noise(WIDTH, 0.5, draw) }, flat('cls.output.bias', 1, 0)] : []
  ])
}

/** A sliding window of so many tokens. */
export const WINDOW = 64
const WRITER_CONTEXT = 4096

/** A Gemma of 2 MB whose layers see a window of the last tokens, but for every sixth. */
export function writeGemma (file: string): void {
  const draw = random(9)
  const [width, heads, headWidth, inner, layers] = [128, 4, 32, 256, 6]
  const matrix = matrices(draw, 0.15)
  const layer = (_: unknown, at: number): Tensor[] => {
    const name = (part: string): string => `blk.${at}.${part}.weight`
    return [
      ...['attn_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm'].map(part => flat(name(part), width, 1)),
      ...['attn_q_norm', 'attn_k_norm'].map(part => flat(name(part), headWidth, 1)),
      matrix(name('attn_q'), width, heads * headWidth), matrix(name('attn_k'), width, headWidth), matrix(name('attn_v'), width, headWidth),
      matrix(name('attn_output'), heads * headWidth, width),
      matrix(name('ffn_gate'), width, inner), matrix(name('ffn_up'), width, inner), matrix(name('ffn_down'), inner, width)
    ]
  }
  writeGguf(file, [
    ...writer('gemma3', width, layers), whole('gemma3.feed_forward_length', inner), whole('gemma3.attention.head_count', heads),
    whole('gemma3.attention.head_count_kv', 1), whole('gemma3.attention.key_length', headWidth), whole('gemma3.attention.value_length', headWidth),
    whole('gemma3.attention.sliding_window', WINDOW), { key: 'gemma3.rope.freq_base', type: F32, value: 10_000 }
  ], [matrix('token_embd.weight', width, PIECES.length), flat('output_norm.weight', width, 1), ...Array.from({ length: layers }, layer).flat()])
}

/** A Mamba of 0.5 MB: a state instead of a cache. */
export function writeMamba (file: string): void {
  const draw = random(5)
  const [width, inner, state, rank, kernel, layers] = [64, 128, 8, 4, 4, 2]
  const matrix = matrices(draw, 0.3)
  const layer = (_: unknown, at: number): Tensor[] => {
    const name = (part: string): string => `blk.${at}.${part}`
    return [
      flat(name('attn_norm.weight'), width, 1), matrix(name('ssm_in.weight'), width, 2 * inner),
      matrix(name('ssm_conv1d.weight'), kernel, inner), flat(name('ssm_conv1d.bias'), inner, 0),
      matrix(name('ssm_x.weight'), inner, rank + 2 * state), matrix(name('ssm_dt.weight'), rank, inner), flat(name('ssm_dt.bias'), inner, 0.1),
      { ...flat(name('ssm_a'), state * inner, -0.05), shape: [state, inner] }, flat(name('ssm_d'), inner, 1), matrix(name('ssm_out.weight'), inner, width)
    ]
  }
  writeGguf(file, [
    ...writer('mamba', width, layers), whole('mamba.feed_forward_length', 0), whole('mamba.attention.head_count', 0), whole('mamba.ssm.conv_kernel', kernel),
    whole('mamba.ssm.inner_size', inner), whole('mamba.ssm.state_size', state), whole('mamba.ssm.time_step_rank', rank)
  ], [
    matrix('token_embd.weight', width, PIECES.length), flat('output_norm.weight', width, 1), matrix('output.weight', width, PIECES.length),
    ...Array.from({ length: layers }, layer).flat()
  ])
}

/** Bytes, behind the control tokens. */
const PIECES = ['<unk>', '<s>', '</s>', ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)]

/** What models that write have in common. */
function writer (architecture: string, width: number, layers: number): Entry[] {
  return [
    text('general.architecture', architecture), text('general.name', `tiny-${architecture}`), text('general.license', 'mit'), whole('general.file_type', 0),
    whole(`${architecture}.context_length`, WRITER_CONTEXT), whole(`${architecture}.embedding_length`, width), whole(`${architecture}.block_count`, layers),
    { key: `${architecture}.attention.layer_norm_rms_epsilon`, type: F32, value: 1e-5 },
    text('tokenizer.ggml.model', 'llama'), { key: 'tokenizer.ggml.tokens', type: ARRAY, of: STRING, value: PIECES },
    { key: 'tokenizer.ggml.scores', type: ARRAY, of: F32, value: PIECES.map(() => 0) },
    { key: 'tokenizer.ggml.token_type', type: ARRAY, of: I32, value: PIECES.map((_, id) => id === 0 ? 2 : id < 3 ? 3 : 6) },
    whole('tokenizer.ggml.unknown_token_id', 0), whole('tokenizer.ggml.bos_token_id', 1), whole('tokenizer.ggml.eos_token_id', 2),
    text('tokenizer.chat_template', '{% for message in messages %}{{ message.content }}\n{% endfor %}')
  ]
}

function matrices (draw: () => number, deviation: number): (name: string, ...shape: number[]) => Tensor {
  return (name, ...shape) => ({ name, shape, data: noise(shape.reduce((a, b) => a * b), deviation, draw) })
}

function flat (name: string, size: number, value: number): Tensor {
  return { name, shape: [size], data: new Float32Array(size).fill(value) }
}

function vocabulary (): string[] {
  const letters = Array.from({ length: 94 }, (_, at) => String.fromCharCode(33 + at).toLowerCase())
  return [...new Set(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...letters.flatMap(letter => [`\u2581${letter}`, letter]), ...WORDS.map(word => `\u2581${word}`)])]
}

function text (key: string, value: string): Entry { return { key, type: STRING, value } }
function whole (key: string, value: number): Entry { return { key, type: U32, value } }

/** mulberry32 */
function random (seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ state >>> 15, 1 | state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }
}

/** Of a normal distribution (Box and Muller). */
function noise (size: number, deviation: number, draw: () => number): Float32Array {
  return Float32Array.from({ length: size }, () => Math.sqrt(-2 * Math.log(draw() + 1e-12)) * Math.cos(2 * Math.PI * draw()) * deviation)
}

const ALIGNMENT = 32

/** Version 3, all tensors in 32-bit floats. `shape` begins with the dimension whose numbers lie side by side. */
function writeGguf (file: string, entries: readonly Entry[], tensors: readonly Tensor[]): void {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(entries.length)]
  for (const { key, type, value, of } of entries) parts.push(string(key), u32(type), encoded(type, value, of))
  let offset = 0
  for (const { name, shape, data } of tensors) {
    parts.push(string(name), u32(shape.length), ...shape.map(u64), u32(0), u64(offset))
    offset += aligned(data.byteLength)
  }
  const head = Buffer.concat(parts)
  const padded = ({ data }: Tensor): Buffer => Buffer.concat([Buffer.from(data.buffer)], aligned(data.byteLength))
  writeFileSync(file, Buffer.concat([Buffer.concat([head], aligned(head.length)), ...tensors.map(padded)]))
}

function aligned (bytes: number): number { return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT }
function u32 (value: number): Buffer { const bytes = Buffer.alloc(4); bytes.writeUInt32LE(value); return bytes }
function u64 (value: number): Buffer { const bytes = Buffer.alloc(8); bytes.writeBigUInt64LE(BigInt(value)); return bytes }
function string (value: string): Buffer { return Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]) }

function encoded (type: number, value: unknown, of?: number): Buffer {
  if (type === STRING) return string(value as string)
  if (type === BOOL) return Buffer.from([value === true ? 1 : 0])
  if (type === ARRAY) return Buffer.concat([u32(of!), u64((value as unknown[]).length), ...(value as unknown[]).map(item => encoded(of!, item))])
  const bytes = Buffer.alloc(4)
  if (type === F32) bytes.writeFloatLE(value as number)
  else bytes.writeInt32LE(value as number)
  return bytes
}
