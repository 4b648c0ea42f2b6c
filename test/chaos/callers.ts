/** Callers of several kinds, and how their calls ended, compared with the same call undisturbed. */
import Anthropic, { APIError as AnthropicError } from '@anthropic-ai/sdk'
import { APIError, type OpenAI } from 'openai'
import { ask, type Running } from '../gateway/harness.ts'

/** `broken`: told so, by an error event or an error. `stopped`: told that it was whole when it was not. `wrong`: anything else. */
export type Ending = 'whole' | 'broken' | 'stopped' | 'wrong'

export interface Caller {
  readonly name: string
  /**
   * Makes one call. @param said told each piece of text as it comes
   * @returns why the answer ended, as its last event says, and the tokens that were counted; null where it says neither
   */
  call (said: (text: string) => void, signal?: AbortSignal): Promise<{ finish: string | null, tokens: number | null }>
}

type ChatStream = OpenAI.Chat.ChatCompletionCreateParamsStreaming

/** Greedy, seeded, with likelihoods (which cannot go on elsewhere), not streamed, and in two other dialects. */
export async function callersOf (running: Running, tenant = 'default', model = 'pilot'): Promise<Caller[]> {
  const client = await running.client(tenant)
  const anthropic = new Anthropic({ apiKey: await running.key(tenant), baseURL: running.url, maxRetries: 0 })
  const chat = (name: string, more: Partial<ChatStream>): Caller => ({
    name,
    call: async (said, signal) => streamed(client, { ...ask('Count from 1 to 40', model), stream: true, stream_options: { include_usage: true }, ...more }, said, signal)
  })
  return [
    chat('chat, greedy', {}),
    chat('chat, seeded', { temperature: 1, seed: 5 }),
    chat('chat, logprobs', { logprobs: true }),
    {
      name: 'chat, not streamed',
      async call (said, signal) {
        const { choices, usage } = await client.chat.completions.create(ask('Count from 1 to 40', model), { signal })
        said(choices[0]!.message.content!)
        return { finish: choices[0]!.finish_reason, tokens: usage!.completion_tokens }
      }
    },
    {
      name: 'messages',
      async call (said, signal) {
        let finish: string | null = null
        let tokens: number | null = null
        const message = { model, max_tokens: 300, temperature: 0, stream: true as const, messages: [{ role: 'user' as const, content: 'Count from 1 to 40' }] }
        for await (const event of await anthropic.messages.create(message, { signal })) {
          if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') said(event.delta.text)
          if (event.type === 'message_delta') ({ delta: { stop_reason: finish }, usage: { output_tokens: tokens } } = event)
        }
        return { finish, tokens }
      }
    },
    {
      name: 'completions',
      async call (said, signal) {
        let finish: string | null = null
        for await (const { choices } of await client.completions.create({ model, prompt: 'One, two, three, four,', max_tokens: 80, temperature: 0, stream: true }, { signal })) {
          said(choices[0]?.text ?? '')
          finish = choices[0]?.finish_reason ?? finish
        }
        return { finish, tokens: null }
      }
    }
  ]
}

async function streamed (client: OpenAI, request: ChatStream, said: (text: string) => void, signal?: AbortSignal) {
  let finish: string | null = null
  let tokens: number | null = null
  for await (const { choices, usage } of await client.chat.completions.create(request, { signal })) {
    said(choices[0]?.delta.content ?? '')
    finish = choices[0]?.finish_reason ?? finish
    tokens = usage?.completion_tokens ?? tokens
  }
  return { finish, tokens }
}

export interface Answer { readonly text: string, readonly finish: string | null, readonly tokens: number | null }

export async function answerOf (caller: Caller, signal?: AbortSignal): Promise<Answer> {
  let text = ''
  const end = await caller.call(piece => { text += piece }, signal)
  return { text, ...end }
}

/** How one call ends that may be disturbed. */
export async function endingOf (caller: Caller, whole: Answer): Promise<Ending> {
  let text = ''
  try {
    const { finish, tokens } = await caller.call(piece => { text += piece })
    if (text === whole.text && finish === whole.finish && tokens === whole.tokens) return 'whole'
    return finish === null ? 'wrong' : 'stopped'
  } catch (thrown) {
    return isTold(thrown) && whole.text.startsWith(text) ? 'broken' : 'wrong'
  }
}

/** The gateway said what went wrong; a connection that broke off says nothing. */
function isTold (thrown: unknown): boolean {
  if (thrown instanceof APIError) return thrown.code === 'worker_crashed'
  return thrown instanceof AnthropicError && JSON.stringify(thrown.error ?? {}).includes('api_error')
}
