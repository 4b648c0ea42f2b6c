import { test } from 'tap'
import { estimateTokens } from '../../src/limits/estimate.ts'
import type { ChatRequest } from '../../src/wire/chat.ts'

const request = (content: unknown, more: object = {}) => ({ model: 'm', messages: [{ role: 'user', content }], ...more }) as ChatRequest
const output = (more: object) => estimateTokens(request('', more), 512).output
const ROLE = 'user'.length

test('the input is a quarter of the bytes of every string in messages and tools', async t => {
  t.same(estimateTokens(request('a'.repeat(400 - ROLE)), 512), { input: 100, output: 512, media: 0 })
  t.equal(estimateTokens(request('é'.repeat(200 - ROLE / 2)), 0).input, 100, 'bytes, not characters')
  t.equal(estimateTokens(request([{ type: 'text', text: 'a'.repeat(400 - ROLE - 4) }]), 0).input, 100)
  const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object', properties: { url: { description: 'a'.repeat(4_000) } } } } }]
  t.ok(estimateTokens(request('', { tools }), 0).input > 1_000)
  t.ok(estimateTokens(request('', { response_format: { type: 'json_schema', json_schema: { name: 'a'.repeat(4_000) } } }), 0).input > 1_000)
})

test('the output is what the request allows, for each choice; the assumption only where it allows anything', async t => {
  t.equal(output({}), 512)
  t.equal(output({ max_tokens: 10 }), 10)
  t.equal(output({ max_tokens: 10, max_completion_tokens: 20 }), 20)
  t.equal(output({ max_tokens: 10, max_completion_tokens: null }), 10)
  t.equal(output({ n: 3 }), 1_536)
  t.equal(output({ n: null }), 512)
})

test('a picture, a recording or a file costs the same however large it is', async t => {
  const data = 'A'.repeat(1_000_000)
  const parts = [
    { type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } },
    { type: 'image_url', image_url: `data:image/png;base64,${data}` },
    { type: 'input_audio', input_audio: { data, format: 'wav' } },
    { type: 'file', file: { file_data: `data:application/pdf;base64,${data}`, filename: 'a.pdf' } }
  ]
  for (const part of parts) {
    const { input } = estimateTokens(request([part]), 0)
    t.ok(input >= 1_000 && input < 1_010, `${part.type}: ${input}`)
  }
})

test('text is text, even if it begins like a picture', async t => {
  t.equal(estimateTokens(request('data:' + 'a'.repeat(40_000 - ROLE - 5)), 0).input, 10_000)
})

test('a body as deep as it likes is measured without running out of stack', async t => {
  let deep: unknown = 'x'
  for (let i = 0; i < 200_000; i++) deep = [deep]
  t.equal(estimateTokens(request(deep), 0).input, 2)
})

test('a prompt of 10 MB is measured in a few milliseconds', async t => {
  const messages = Array.from({ length: 1_000 }, () => ({ role: 'user', content: 'word '.repeat(2_000) }))
  const big = { model: 'm', messages } as ChatRequest
  estimateTokens(big, 0)
  const startMs = performance.now()
  estimateTokens(big, 0)
  const tookMs = performance.now() - startMs
  t.ok(tookMs < 50, `${tookMs.toFixed(2)} ms`)
})
