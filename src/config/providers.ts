/**
 * Services that become backends by themselves when their usual key is in the environment. Base URLs are those of Anthropic's own
 * API, and of each other provider's OpenAI-compatible one; keys and variables are those that their own SDKs read.
 *
 * kind  what they speak: "openai" if left out
 * bare  public names that are also served without the `provider/` in front
 */
export const PROVIDERS = [
  { name: 'openai', key: 'OPENAI_API_KEY', baseUrl: 'https://api.openai.com/v1', baseUrlVariable: 'OPENAI_BASE_URL', responses: true, bare: ['gpt-*', 'o1*', 'o3*', 'o4*', 'chatgpt-*'] },
  { name: 'anthropic', key: 'ANTHROPIC_API_KEY', kind: 'anthropic', baseUrl: 'https://api.anthropic.com', baseUrlVariable: 'ANTHROPIC_BASE_URL', bare: ['claude-*'] },
  { name: 'groq', key: 'GROQ_API_KEY', baseUrl: 'https://api.groq.com/openai/v1', baseUrlVariable: null, bare: [] },
  { name: 'mistral', key: 'MISTRAL_API_KEY', baseUrl: 'https://api.mistral.ai/v1', baseUrlVariable: null, bare: [] },
  { name: 'openrouter', key: 'OPENROUTER_API_KEY', baseUrl: 'https://openrouter.ai/api/v1', baseUrlVariable: null, bare: [] },
  { name: 'deepseek', key: 'DEEPSEEK_API_KEY', baseUrl: 'https://api.deepseek.com/v1', baseUrlVariable: null, bare: [] },
  { name: 'together', key: 'TOGETHER_API_KEY', baseUrl: 'https://api.together.xyz/v1', baseUrlVariable: null, bare: [] },
  { name: 'xai', key: 'XAI_API_KEY', baseUrl: 'https://api.x.ai/v1', baseUrlVariable: null, bare: [] },
  { name: 'gemini', key: 'GEMINI_API_KEY', baseUrl: 'https://generativelanguage.googleapis.com/v1beta/openai', baseUrlVariable: null, bare: [] }
] as const satisfies readonly Provider[]

export interface Provider {
  readonly name: string
  readonly kind?: 'openai' | 'anthropic'
  /** The variable that holds the key; its twin `…_FILE` counts too. */
  readonly key: string
  readonly baseUrl: string
  /** The variable that customarily replaces the base URL, where there is one. */
  readonly baseUrlVariable: string | null
  /** Its own API, at `baseUrl`, speaks Responses too. */
  readonly responses?: boolean
  readonly bare: readonly string[]
}
