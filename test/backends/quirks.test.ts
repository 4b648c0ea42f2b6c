import { test } from 'tap'
import { PRESETS } from '../../src/config/presets.ts'
import { inItsWords } from '../../src/backends/quirks.ts'
import type { ChatRequest } from '../../src/wire/chat.ts'

const request = { model: 'm', messages: [{ role: 'user', content: 'hi' }], temperature: 0.5, x_own: 1 } as const
const said = (preset: 'groq' | 'mistral' | 'ollama', more: Record<string, unknown>) => inItsWords({ ...request, ...more } as unknown as ChatRequest, PRESETS[preset].quirks, preset)

test('the limit and the seed go under the names that the server has for them', async t => {
  t.same(said('mistral', { max_completion_tokens: 7, seed: 3 }), { ...request, max_tokens: 7, random_seed: 3 })
  t.same(said('mistral', { max_tokens: 5 }), { ...request, max_tokens: 5 })
  t.same(said('ollama', { max_tokens: 5, max_completion_tokens: 7, seed: 3 }), { ...request, max_tokens: 7, seed: 3 }, 'the newer name counts')
  t.same(said('groq', { max_completion_tokens: 7 }), { ...request, max_completion_tokens: 7 })
})

test('what the server does not have is refused by name, so that another target may answer', async t => {
  for (const [member, value] of Object.entries({ logprobs: true, top_logprobs: 2, logit_bias: { 1: 2 }, n: 2 })) {
    t.throws(() => said('groq', { [member]: value }), { code: 'unsupported_value', param: member, fallback: true, message: `${member}: groq has nothing like it. Leave it out, or call another model.` })
  }
  t.throws(() => said('groq', { messages: [{ role: 'user', content: 'a' }, { role: 'user', content: 'b', name: 'eve' }] }), { code: 'unsupported_value', message: 'messages[1].name: groq has nothing like it. Leave it out, or call another model.' })
})

test('what asks for nothing is left out', async t => {
  t.same(said('groq', { logprobs: false, top_logprobs: 0, logit_bias: {}, n: 1 }), request)
})

test('the request itself stays as it was, for the next target', async t => {
  const whole = { ...request, max_completion_tokens: 7, n: 1 } as unknown as ChatRequest
  inItsWords(whole, PRESETS.ollama.quirks, 'ollama')
  t.same(whole, { ...request, max_completion_tokens: 7, n: 1 })
})
