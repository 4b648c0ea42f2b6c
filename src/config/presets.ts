/**
 * Servers of the OpenAI API by name: where they are, and what of the API they are known to say in other words, or not to have.
 * Whatever is not known passes as it came.
 *
 * Base URLs: the providers' own quick starts. Those of engines are the ports that they listen on by themselves.
 * Read on 2026-11-22:
 * - groq: console.groq.com/docs/openai, "Currently Unsupported OpenAI Features": a 400 for logprobs, logit_bias, top_logprobs,
 *   messages[].name and an n other than 1.
 * - ollama: docs.ollama.com/api/openai-compatibility, "Supported request fields", has max_tokens; logit_bias and n are not among them.
 * - mistral: users' reports of a 422 ("Extra inputs are not permitted") for max_completion_tokens; max_tokens and random_seed are in
 *   its reference.
 * As commonly known, and not looked up again; the providers' own references decide:
 * - together, deepseek, lmstudio, tgi and llama-server have max_tokens; tgi does not use logit_bias and n; mistral refuses
 *   logprobs and logit_bias.
 */
import type { Locality } from './schema.ts'

/** How a server differs from the API that it speaks. */
export interface Quirks {
  /** The one name that it has for the longest answer. */
  readonly limit?: 'max_tokens'
  /** Its name for `seed`. */
  readonly seed?: 'random_seed'
  /** Members that it refuses, or ignores in silence; those that ask for nothing are left out, others refused by name. */
  readonly lacks?: readonly string[]
  /** It refuses `messages[].name`. */
  readonly nameless?: true
}

export interface Preset { readonly baseUrl: string, readonly locality: Locality, readonly quirks?: Quirks }

export const PRESETS = {
  openai: { baseUrl: 'https://api.openai.com/v1', locality: 'cloud' },
  openrouter: { baseUrl: 'https://openrouter.ai/api/v1', locality: 'cloud' },
  groq: { baseUrl: 'https://api.groq.com/openai/v1', locality: 'cloud', quirks: { lacks: ['logprobs', 'top_logprobs', 'logit_bias', 'n'], nameless: true } },
  together: { baseUrl: 'https://api.together.xyz/v1', locality: 'cloud', quirks: { limit: 'max_tokens' } },
  deepseek: { baseUrl: 'https://api.deepseek.com/v1', locality: 'cloud', quirks: { limit: 'max_tokens' } },
  mistral: { baseUrl: 'https://api.mistral.ai/v1', locality: 'cloud', quirks: { limit: 'max_tokens', seed: 'random_seed', lacks: ['logprobs', 'top_logprobs', 'logit_bias'] } },
  xai: { baseUrl: 'https://api.x.ai/v1', locality: 'cloud' },
  fireworks: { baseUrl: 'https://api.fireworks.ai/inference/v1', locality: 'cloud' },
  cerebras: { baseUrl: 'https://api.cerebras.ai/v1', locality: 'cloud' },
  vllm: { baseUrl: 'http://127.0.0.1:8000/v1', locality: 'local' },
  sglang: { baseUrl: 'http://127.0.0.1:30000/v1', locality: 'local' },
  'llama-server': { baseUrl: 'http://127.0.0.1:8080/v1', locality: 'local', quirks: { limit: 'max_tokens' } },
  ollama: { baseUrl: 'http://127.0.0.1:11434/v1', locality: 'local', quirks: { limit: 'max_tokens', lacks: ['logit_bias', 'n'] } },
  lmstudio: { baseUrl: 'http://127.0.0.1:1234/v1', locality: 'local', quirks: { limit: 'max_tokens' } },
  tgi: { baseUrl: 'http://127.0.0.1:3000/v1', locality: 'local', quirks: { limit: 'max_tokens', lacks: ['logit_bias', 'n'] } }
} as const satisfies Readonly<Record<string, Preset>>

export type PresetName = keyof typeof PRESETS
export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[]

export function quirksOf (name: PresetName): Quirks | null {
  const preset: Preset = PRESETS[name]
  return preset.quirks ?? null
}

/**
 * A configuration as it was written, with what its presets say of `baseUrl` and `locality` where it says nothing itself. Anything
 * may stand in it yet. An engine counts as local where its preset says too where it is: an own `baseUrl` might be anywhere.
 */
export function withPresets (written: unknown): unknown {
  if (!isMap(written) || !Array.isArray(written['backends'])) return written
  return { ...written, backends: written['backends'].map(filled) }
}

function filled (backend: unknown): unknown {
  if (!isMap(backend) || backend['kind'] !== 'openai' || !isPreset(backend['preset'])) return backend
  const { baseUrl, locality } = PRESETS[backend['preset']]
  const isElsewhere = backend['baseUrl'] !== undefined && locality !== 'cloud'
  return { baseUrl, ...!isElsewhere && { locality }, ...backend }
}

function isPreset (name: unknown): name is PresetName { return typeof name === 'string' && Object.hasOwn(PRESETS, name) }

function isMap (value: unknown): value is Readonly<Record<string, unknown>> { return typeof value === 'object' && value !== null && !Array.isArray(value) }
