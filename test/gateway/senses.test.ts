/** What local models cannot see or hear is refused by name, whichever way it comes. */
import { test } from 'tap'
import { pilotPool, startGateway } from './harness.ts'

/** One grey dot. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=='

test('an image, a sound or a file for a local model is a 400 that names it', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool(1)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`)
  const key = await running.key('default')
  const post = async (path: string, body: object): Promise<{ status: number, answer: unknown }> => {
    const headers = { 'authorization': `Bearer ${key}`, 'content-type': 'application/json' }
    const response = await fetch(`${running.url}/v1${path}`, { method: 'POST', headers, body: JSON.stringify({ model: 'pilot', ...body }) })
    return { status: response.status, answer: await response.json() }
  }
  const text = { type: 'text', text: 'What is this?' }
  const chat = (part: object) => post('/chat/completions', { messages: [{ role: 'user', content: [text, part] }] })
  const image = await chat({ type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } })
  const audio = await chat({ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } })
  const file = await chat({ type: 'file', file: { file_data: `data:application/pdf;base64,${PNG}`, filename: 'a.pdf' } })
  const message = await post('/messages', { max_tokens: 9, messages: [{ role: 'user', content: [text, { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } }] }] })
  const response = await post('/responses', { input: [{ role: 'user', content: [{ type: 'input_text', text: 'What?' }, { type: 'input_image', image_url: `data:image/png;base64,${PNG}` }] }] })
  const spoken = await post('/chat/completions', { messages: [{ role: 'user', content: 'Hi' }], modalities: ['text', 'audio'], audio: { voice: 'a', format: 'wav' } })
  const refused: [name: string, one: { status: number, answer: unknown }, message: RegExp][] = [
    ['an image', image, /messages\[0\]\.content\[1\].* image.*see images/],
    ['a sound', audio, /messages\[0\]\.content\[1\] .*input_audio; local models read text only/],
    ['a file', file, /messages\[0\]\.content\[1\] .*file; local models read text only/],
    ['an image in a message', message, /messages\[0\]\.content\[1\].* image.*see images/],
    ['an image in a response', response, /input\[0\]\.content\[1\].* image.*see images/],
    ['a spoken answer', spoken, /audio is not supported by local models/]
  ]
  for (const [name, one, says] of refused) t.match(one, { status: 400, answer: { error: { type: 'invalid_request_error', message: says } } }, name)
  t.match([image, audio, file, spoken].map(({ answer }) => answer), [image, audio, file, spoken].map(() => ({ error: { code: 'unsupported_value', param: /^(messages\[0\]\.content\[1\]|audio)/ } })))
})
