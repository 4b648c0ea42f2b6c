/** Orders that look at more than the configuration: lots, measured times, free places. */
import { test } from 'tap'
import { ask, readAll, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

const grid = (one: string, two: string) => `
backends:
  - { name: one, kind: openai, baseUrl: '${one}', locality: cloud, connections: 2 }
  - { name: two, kind: openai, baseUrl: '${two}', locality: cloud, connections: 8 }
models:
  - { name: lot, order: weighted, targets: [{ backend: one, model: m, weight: 1 }, { backend: two, model: m, weight: 3 }] }
  - { name: users, order: weighted, sticky: user, targets: [{ backend: one, model: m }, { backend: two, model: m }] }
  - { name: talks, order: weighted, sticky: conversation, targets: [{ backend: one, model: m }, { backend: two, model: m }] }
  - { name: quick, order: fastest, targets: [{ backend: one, model: m }, { backend: two, model: m }] }
  - { name: free, order: least_busy, targets: [{ backend: one, model: m }, { backend: two, model: m }] }
tenants:
  - { name: open, class: public }
`

test('orders that look around', { timeout: 60_000 }, async t => {
  const [one, two] = [await startProvider(t), await startProvider(t)]
  const running = await startGateway(t, grid(one.url, two.url))
  const client = await running.client('open')
  const targetOf = async (model: string, more: object = {}) =>
    (await client.chat.completions.create({ ...ask('Hi', model), stream: false, ...more }).withResponse()).response.headers.get('x-torchgate-target')

  await t.test('weighted: about three of four calls go to the target of weight 3', async t => {
    const targets = []
    for (let call = 0; call < 200; call++) targets.push(await targetOf('lot'))
    const share = targets.filter(target => target === 'two/m').length / 200
    t.ok(share > 0.62 && share < 0.88, String(share))
  })

  await t.test('sticky: a user, or a conversation, keeps its target; others get theirs', async t => {
    const ofUser = async (user: string) => new Set([await targetOf('users', { user }), await targetOf('users', { user }), await targetOf('users', { user })])
    const seen = []
    for (let user = 0; user < 12; user++) seen.push(await ofUser(`user-${user}`))
    t.ok(seen.every(({ size }) => size === 1))
    t.equal(new Set(seen.flatMap(targets => [...targets])).size, 2)
    const turns = (topic: string) => [{ role: 'user', content: topic }, { role: 'assistant', content: 'Yes?' }, { role: 'user', content: `${Math.random()}` }]
    for (let topic = 0; topic < 6; topic++) {
      const targets = new Set([await targetOf('talks', { messages: turns(`topic ${topic}`) }), await targetOf('talks', { messages: turns(`topic ${topic}`) })])
      t.equal(targets.size, 1)
    }
  })

  await t.test('fastest: the one that answers sooner is asked first, once both are known', async t => {
    const stream = async () => {
      const { data, response } = await client.chat.completions.create({ ...ask('Hi', 'quick'), stream: true }).withResponse()
      await readAll(data)
      return response.headers.get('x-torchgate-target')
    }
    one.behave = { do: 'slow', ms: 120 }
    t.equal(await stream(), 'one/m', 'as listed while nothing is known')
    const targets = []
    for (let call = 0; call < 80; call++) targets.push(await stream())
    t.ok(targets.includes('two/m'), 'the other one is looked at')
    const since = targets.slice(targets.indexOf('two/m') + 1)
    t.ok(since.every(target => target === 'two/m'), since.join(' '))
    one.behave = { do: 'answer' }
  })

  await t.test('least_busy: the backend with more free places is asked first', async t => {
    t.equal(await targetOf('free'), 'two/m')
    const { candidates } = await running.admin<{ candidates: { target: string, freeSlots: number }[] }>('/admin/v1/explain?tenant=open&model=free')
    t.same(candidates.map(({ target, freeSlots }) => [target, freeSlots]), [['two/m', 8], ['one/m', 2]])
  })
})
