import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { startGateway, type Running } from './harness.ts'
import { startProvider } from './provider.ts'

const yaml = (url: string, farUrl: string) => `
backends:
  - { name: near, kind: openai, baseUrl: ${url}, locality: local }
  - { name: far, kind: openai, baseUrl: ${farUrl}, locality: domain }
models:
  - { name: pilot, targets: [{ backend: near, model: m }] }
  - { name: distant, targets: [{ backend: far, model: m }] }
tenants:
  - { name: keeps, storeResponses: true }
  - { name: also, storeResponses: true }
  - { name: never }
`

/** Everything the gateway has written. */
function onDisk ({ folder }: Running): string {
  const data = join(folder, 'data')
  return readdirSync(data, { withFileTypes: true }).filter(entry => entry.isFile()).map(({ name }) => readFileSync(join(data, name), 'latin1')).join('')
}

test('responses are kept for the tenants whose policy says so, and for nobody else', async t => {
  const provider = await startProvider(t)
  const distant = await startProvider(t)
  const running = await startGateway(t, yaml(provider.url, distant.url))
  const [keeps, also, never] = await Promise.all(['keeps', 'also', 'never'].map(name => running.client(name)))
  const sent = () => provider.seen.requests.at(-1)!.body['messages']

  await t.test('a conversation goes on from its last response', async t => {
    const first = await keeps!.responses.create({ model: 'pilot', input: 'The word is marzipan.', instructions: 'Be brief.' })
    t.match(first, { store: true })
    const second = await keeps!.responses.create({ model: 'pilot', input: 'And?', previous_response_id: first.id })
    t.equal(second.previous_response_id, first.id)
    t.strictSame(sent(), [{ role: 'user', content: 'The word is marzipan.' }, { role: 'assistant', content: 'from the cloud' }, { role: 'user', content: 'And?' }], 'instructions are not carried over')
    const stream = keeps!.responses.stream({ model: 'pilot', input: 'Third.', previous_response_id: second.id })
    const third = await stream.finalResponse()
    t.equal((sent() as unknown[]).length, 5)
    const { output_text: _, ...kept } = await keeps!.responses.retrieve(third.id)
    const { output_text: __, ...answered } = third
    t.match(kept, { id: answered.id, status: 'completed', output: [{ type: 'message', content: [{ text: 'from the cloud' }] }], usage: answered.usage })

    const items = await keeps!.responses.inputItems.list(third.id, { order: 'asc' })
    t.strictSame(items.data.map(item => item.type === 'message' && (item.content[0] as { text: string }).text), ['The word is marzipan.', 'from the cloud', 'And?', 'from the cloud', 'Third.'])
    t.ok(items.data.every(({ id }) => id!.startsWith('msg_')))
    const seen: unknown[] = []
    for await (const item of keeps!.responses.inputItems.list(third.id, { limit: 2 })) seen.push(item.id)
    t.strictSame(seen, items.data.map(({ id }) => id).toReversed(), 'page by page, latest first')
  })

  await t.test('no tenant sees or deletes the response of another', async t => {
    const { id } = await keeps!.responses.create({ model: 'pilot', input: 'Mine.' })
    const gone = { code: 'response_not_found', param: 'response_id' }
    for (const client of [also!, never!]) {
      await t.rejects(client.responses.retrieve(id), gone)
      await t.rejects(client.responses.delete(id), gone)
      await t.rejects(client.responses.cancel(id), gone)
      await t.rejects(client.responses.inputItems.list(id), gone)
      await t.rejects(client.responses.create({ model: 'pilot', input: 'x', previous_response_id: id }), { code: 'previous_response_not_found', param: 'previous_response_id' })
    }
    t.equal((await keeps!.responses.retrieve(id)).id, id)
    await t.rejects(keeps!.responses.cancel(id), { code: 'invalid_value', param: 'response_id' })
  })

  await t.test('what was deleted is gone, for what went on from it too, and from the disk', async t => {
    const first = await keeps!.responses.create({ model: 'pilot', input: 'The word is xylophone.' })
    const second = await keeps!.responses.create({ model: 'pilot', input: 'Go on.', previous_response_id: first.id })
    await keeps!.responses.delete(first.id)
    await t.rejects(keeps!.responses.retrieve(first.id), { code: 'response_not_found' })
    await t.rejects(keeps!.responses.delete(first.id), { code: 'response_not_found' })
    await t.rejects(keeps!.responses.create({ model: 'pilot', input: 'x', previous_response_id: second.id }), { code: 'previous_response_not_found' })
  })

  await t.test('a caller may ask for nothing to be kept', async t => {
    const response = await keeps!.responses.create({ model: 'pilot', input: 'The word is quicksand.', store: false })
    t.match(response, { store: false })
    await t.rejects(keeps!.responses.retrieve(response.id), { code: 'response_not_found' })
    t.notMatch(onDisk(running), 'quicksand')
    t.match(onDisk(running), 'marzipan', 'while what is kept lies there')
  })

  await t.test('where storing is off nothing is written, and asking for it is refused', async t => {
    const response = await never!.responses.create({ model: 'pilot', input: 'The word is hedgehog.' })
    t.match(response, { store: false })
    await t.rejects(never!.responses.retrieve(response.id), { code: 'response_not_found' })
    await t.rejects(never!.responses.create({ model: 'pilot', input: 'x', store: true }), { code: 'unsupported_value', param: 'store' })
    t.notMatch(onDisk(running), 'hedgehog')
  })

  await t.test('what goes on from a restricted response is restricted', async t => {
    const first = await keeps!.responses.create({ model: 'pilot', input: 'Secret.' }, { headers: { 'x-torchgate-class': 'restricted' } })
    await t.rejects(keeps!.responses.create({ model: 'distant', input: 'And?', previous_response_id: first.id }), { code: 'no_eligible_target' })
    const second = await keeps!.responses.create({ model: 'pilot', input: 'And?', previous_response_id: first.id }, { headers: { 'x-torchgate-class': 'public' } })
    await t.rejects(keeps!.responses.create({ model: 'distant', input: 'And?', previous_response_id: second.id }), { code: 'no_eligible_target' })
    t.equal(distant.seen.connections, 0)
  })

  await t.test('tokens are counted without a call', async t => {
    const before = provider.seen.requests.length
    const few = await keeps!.responses.inputTokens.count({ model: 'pilot', input: 'Hello.' })
    const many = await keeps!.responses.inputTokens.count({ model: 'pilot', input: 'Hello. '.repeat(100) })
    t.equal(few.object, 'response.input_tokens')
    t.ok(many.input_tokens > few.input_tokens && few.input_tokens > 0)
    t.equal(provider.seen.requests.length, before)
  })

  await t.test('what is not served there is refused by name', async t => {
    const { id } = await keeps!.responses.create({ model: 'pilot', input: 'x' })
    await t.rejects(keeps!.responses.inputItems.list(id, { limit: 101 }), { code: 'invalid_value', param: 'limit' })
    await t.rejects(keeps!.responses.inputItems.list(id, { order: 'up' as 'asc' }), { code: 'invalid_value', param: 'order' })
    await t.rejects(keeps!.responses.retrieve(id, { stream: true }), { code: 'unsupported_parameter', param: 'stream' })
  })
})
