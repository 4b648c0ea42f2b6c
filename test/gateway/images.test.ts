/** Images in messages through a whole gateway: who sees them, how large they may be, and where they may come from. */
import Anthropic from '@anthropic-ai/sdk'
import type OpenAI from 'openai'
import { test } from 'tap'
import { dataUrl, jpeg, png } from '../wire/pictures.ts'
import { startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

const grid = (one: string, two: string) => `
images: { maxBytes: 50000, maxPixels: 1000000, maxCount: 3, hosts: [images.example.com] }
backends:
  - { name: one, kind: openai, baseUrl: '${one}', locality: local }
  - { name: two, kind: openai, baseUrl: '${two}', locality: cloud }
models:
  - { name: mixed, targets: [{ backend: one, model: reads, images: false }, { backend: two, model: sees }] }
  - { name: blind, targets: [{ backend: one, model: reads, images: false }] }
  - { name: sees, targets: [{ backend: one, model: sees }] }
tenants:
  - { name: open, class: public, models: ['*'] }
  - { name: closed, class: restricted, models: ['*'] }
`

const PHOTO = dataUrl('png', png(100, 100))
const asked = (model: string, ...urls: string[]): OpenAI.Chat.ChatCompletionCreateParamsNonStreaming => ({
  model, messages: [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, ...urls.map(url => ({ type: 'image_url' as const, image_url: { url } }))] }]
})
const AT = 'messages[0].content[1].image_url'

test('images', { timeout: 60_000 }, async t => {
  const [one, two] = [await startProvider(t), await startProvider(t)]
  const running = await startGateway(t, grid(one.url, two.url))
  const [open, closed] = [await running.client('open'), await running.client('closed')]
  const messages = new Anthropic({ apiKey: await running.key('open'), baseURL: running.url, maxRetries: 0 })

  await t.test('go to a model that sees them, as they are', async t => {
    const { response } = await open.chat.completions.create(asked('mixed', PHOTO)).withResponse()
    t.equal(response.headers.get('x-torchgate-target'), 'two/sees')
    t.match(response.headers.get('x-torchgate-why'), /skip=one\/reads:capability/)
    t.same(two.seen.requests.at(-1)!.body['messages'], asked('sees', PHOTO).messages)
    await open.chat.completions.create({ ...asked('mixed'), messages: [{ role: 'user', content: 'Hello' }] })
    t.equal(one.seen.requests.length, 1, 'what is no image goes to the first')
    t.equal(await running.metric('torchgate_routing_exclusions_total', { target: 'one/reads', reason: 'capability' }), 1)
  })

  await t.test('are refused by name where no model sees them, in every dialect', async t => {
    const before = one.seen.requests.length
    await t.rejects(open.chat.completions.create(asked('blind', PHOTO)), { status: 400, code: 'unsupported_value', param: `${AT}.url`, message: /`blind` can see images/ })
    await t.rejects(open.responses.create({ model: 'blind', input: [{ role: 'user', content: [{ type: 'input_image', image_url: PHOTO, detail: 'auto' }] }] }), { status: 400, code: 'unsupported_value', param: 'input[0].content[0].image_url' })
    const source = { type: 'base64' as const, media_type: 'image/png' as const, data: png(1, 1).toString('base64') }
    await t.rejects(messages.messages.create({ model: 'blind', max_tokens: 5, messages: [{ role: 'user', content: [{ type: 'image', source }] }] }), { status: 400, message: /can see images/ })
    await t.rejects(closed.chat.completions.create(asked('mixed', PHOTO)), { status: 503, code: 'no_eligible_target' }, 'the one that sees is too far')
    t.equal(one.seen.requests.length, before)
  })

  await t.test('are bounded in bytes, pixels and number', async t => {
    const before = one.seen.requests.length
    const refused = async (message: RegExp, ...urls: string[]) => {
      await t.rejects(open.chat.completions.create(asked('sees', ...urls)), { status: 400, code: 'invalid_value', message })
    }
    await refused(/messages\[0\]\.content\[2\]\.image_url\.url.*1001 x 1000 pixels/, PHOTO, dataUrl('jpeg', jpeg(1001, 1000)))
    await refused(/50001 bytes/, dataUrl('png', Buffer.concat([png(1, 1), Buffer.alloc(50_001 - png(1, 1).length)])))
    await refused(/cannot be read/, dataUrl('png', Buffer.from('hello')))
    await refused(/image\/png, image\/jpeg/, dataUrl('tiff', png(1, 1)))
    await refused(/at most 3 images/, PHOTO, PHOTO, PHOTO, PHOTO)
    const large = { type: 'input_image' as const, image_url: dataUrl('png', png(2000, 2000)), detail: 'auto' as const }
    const talk = [{ role: 'user' as const, content: 'Hello' }, { role: 'user' as const, content: [{ type: 'input_text' as const, text: 'Look.' }, large] }]
    await t.rejects(open.responses.create({ model: 'sees', instructions: 'See.', input: talk }), { status: 400, param: 'input[1].content[1].image_url', message: /'input\[1\]\.content\[1\]\.image_url'.*pixels/ })
    t.equal(one.seen.requests.length, before)
    await open.chat.completions.create(asked('sees', PHOTO, dataUrl('jpeg', jpeg(1000, 1000)), PHOTO))
    t.equal(one.seen.requests.length, before + 1)
  })

  await t.test('named by an address are never the business of a backend', async t => {
    const before = [one.seen.requests.length, two.seen.requests.length]
    for (const url of ['https://other.example.com/a.png', 'https://127.0.0.1/a.png', `${one.url}/a.png`, 'https://images.example.com:444/a.png']) {
      await t.rejects(open.chat.completions.create(asked('sees', url)), { status: 400, code: 'invalid_value', param: `${AT}.url`, message: /data: URL/ }, url)
      await t.rejects(messages.messages.create({ model: 'sees', max_tokens: 5, messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url } }] }] }), { status: 400, message: /data: URL/ }, url)
    }
    const raised = closed.chat.completions.create(asked('sees', 'https://images.example.com/a.png'))
    await t.rejects(raised, { status: 403, code: 'egress_forbidden', param: `${AT}.url` }, 'a call that stays here does not even ask for it')
    t.same([one.seen.requests.length, two.seen.requests.length], before)
  })
})

test('a host on the list that is no public one is found at the start', async t => {
  await t.rejects(startGateway(t, grid('http://127.0.0.1:1/v1', 'http://127.0.0.1:2/v1').replace('images.example.com', '10.0.0.7')), { code: 'egress_forbidden' })
})
