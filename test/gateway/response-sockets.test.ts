import { request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { ResponsesWS } from 'openai/resources/responses/ws'
import { WebSocket } from 'ws'
import { openSqlite } from '../../src/store/sqlite.ts'
import { eventually, startGateway } from './harness.ts'
import { complete, converse, startScript, type Members } from './script.ts'

async function start (t: Test, { answer = (body: Members, response: Parameters<typeof complete>[1]) => { complete(body, response, { content: 'Hello to you.' }) }, server = 'drainTimeoutMs: 3000' } = {}) {
  const script = await startScript(t, answer)
  const running = await startGateway(t, `
backends:
  - { name: far, kind: openai, baseUrl: ${script.url}, locality: domain }
models: [{ name: m, targets: [{ backend: far, model: m }] }]
tenants: [{ name: acme, storeResponses: true }, { name: other, storeResponses: true }, { name: poor, limits: { requestsPerMinute: 1 } }]
`, {}, server)
  return { ...running, script, open: async (tenant = 'acme', headers: Record<string, string> = {}) => await converse(t, running.url, await running.key(tenant), headers), sent: () => script.asked.at(-1)!.body['messages'] as Members[] }
}
const create = (more: Members) => ({ type: 'response.create', model: 'm', store: false, ...more })

test('the openai package speaks over a WebSocket', async t => {
  const { client, records } = await start(t)
  const socket = new ResponsesWS(await client('acme'))
  t.teardown(() => { socket.close() })
  let text = ''
  socket.on('response.output_text.delta', ({ delta }) => { text += delta })
  const completed = new Promise<Members>((resolve, reject) => {
    socket.on('response.completed', event => { resolve(event.response as unknown as Members) })
    socket.on('error', reject)
  })
  socket.send({ type: 'response.create', model: 'm', input: 'Hi.', store: false })
  t.match(await completed, { status: 'completed', usage: { input_tokens: 7, output_tokens: 3 } })
  t.equal(text, 'Hello to you.')
  t.match(await records(1), [{ endpoint: 'responses', outcome: 'ok', tenant: 'acme', stream: true, usage: { input_tokens: 7, output_tokens: 3 } }])
})

test('whoever may not call gets no connection, and is told as on HTTP', async t => {
  const { url, key } = await start(t)
  await t.rejects(converse(t, url, 'tg_live_nothing'), { status: 401, message: /"code":"invalid_api_key"/ })
  const plain = await fetch(`${url}/v1/responses`, { headers: { authorization: `Bearer ${await key('acme')}` } })
  t.equal(plain.status, 405)
  t.equal(plain.headers.get('allow'), 'POST')
  const ask = (headers: Record<string, string>, path = '/v1/responses') => new Promise<number>((resolve, reject) => {
    const asking = request(url + path, { headers: { connection: 'Upgrade', upgrade: 'websocket', ...headers } }, response => { response.resume(); resolve(response.statusCode!) })
    asking.once('upgrade', () => { reject(new Error('upgraded')) }).once('error', reject).end()
  })
  t.equal(await ask({ authorization: `Bearer ${await key('acme')}`, 'sec-websocket-version': '12' }), 400, 'a handshake that is none')
  t.equal(await ask({}), 401)
  t.equal(await ask({ authorization: `Bearer ${await key('acme')}` }, '/v1/models'), 200, 'elsewhere the offer is not taken')
  t.equal(await ask({ authorization: `Bearer ${await key('acme')}`, upgrade: 'h2c' }), 405)
})

test('what is said wrong is told, and the connection lives on', async t => {
  const { open, script, records } = await start(t)
  const { say, socket } = await open()
  for (const [message, param, code] of [
    ['{', null, 'invalid_json'], [{ type: 'response.steer' }, 'type', 'unsupported_value'], [{ model: 'm', input: 'x' }, 'type', 'missing_required_parameter'],
    [create({ input: 'x', stream: false }), 'stream', 'unsupported_value'], [create({ input: 'x', background: true }), 'background', 'unsupported_value'],
    [create({ input: 'x', model: 'none' }), 'model', 'model_not_found'], [create({ input: 'x', temperature: 9 }), 'temperature', 'invalid_value']
  ] as const) {
    const { events } = await say(message)
    t.match(events, [{ type: 'error', status: Number, error: { code, param } }])
    t.equal(events.length, 1)
  }
  const binary = new Promise<Members>(resolve => { socket.once('message', data => { resolve(JSON.parse(String(data)) as Members) }) })
  socket.send(Buffer.from('{}'), { binary: true })
  t.match(await binary, { type: 'error', error: { code: 'invalid_json' } })
  t.equal(script.asked.length, 0)
  t.match((await say(create({ input: 'x', tools: [{ type: 'web_search' }], stream_id: 'lane 1' }))).events[0], { type: 'response.created', stream_id: 'lane 1', 'x-torchgate-warning': /web_search is not served/ })
  t.equal((await records(8)).filter(({ outcome }) => outcome === 'client_error').length, 7)
})

test('messages wait for the answer before them, some and not more', async t => {
  const { open, records } = await start(t)
  const { socket } = await open()
  const events: Members[] = []
  socket.on('message', data => events.push(JSON.parse(String(data)) as Members))
  for (let index = 0; index < 12; index++) socket.send(JSON.stringify(create({ input: `${index}`, stream_id: `${index}` })))
  await t.resolves(records(9))
  t.ok(await eventually(() => events.filter(({ type }) => type === 'response.completed').length === 9))
  t.strictSame(events.filter(({ type }) => type === 'response.created').map(event => event['stream_id']), Array.from({ length: 9 }, (_, index) => `${index}`))
  t.strictSame(events.filter(({ type }) => type === 'error').map(({ error }) => error.code), ['too_many_waiting', 'too_many_waiting', 'too_many_waiting'])
})

test('a message beyond the limit of bodies closes the connection', async t => {
  const { open } = await start(t, { server: 'bodyLimitBytes: 2048' })
  const { socket, closed } = await open()
  socket.send(JSON.stringify(create({ input: 'x'.repeat(4096) })))
  t.match(await closed(), { code: 1009 })
})

test('nothing is computed for a caller that has left', async t => {
  let ended = false
  const { open, records } = await start(t, { answer: (_body, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
    response.once('close', () => { ended = true })
  } })
  const { socket } = await open()
  socket.send(JSON.stringify(create({ input: 'x', store: true })))
  await new Promise(resolve => { socket.once('message', resolve) })
  socket.terminate()
  t.ok(await eventually(() => ended))
  t.match(await records(1), [{ outcome: 'cancelled', status: 499 }])
})

test('a caller that does not read slows the backend', async t => {
  const CHUNKS = 20_000
  let sent = 0
  const { open } = await start(t, { answer: async (_body, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const chunk = `data: {"choices":[{"index":0,"delta":{"content":"${'x'.repeat(1000)}"}}]}\n\n`
    for (; sent < CHUNKS && !response.destroyed; sent++) if (!response.write(chunk)) await new Promise(resolve => { response.once('drain', resolve).once('close', resolve) })
    response.end('data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n')
  } })
  const { socket, closed } = await open()
  const ended = new Promise<void>(resolve => { socket.on('message', data => { if (String(data).startsWith('{"type":"error') || /"type":"response\.(incomplete|failed)"/.test(String(data).slice(0, 60))) resolve() }) })
  socket.send(JSON.stringify(create({ input: 'x' })))
  await new Promise(resolve => { socket.once('message', resolve) })
  socket.pause()
  let before = -1
  while (before !== sent) { before = sent; await wait(300) }
  t.ok(sent < CHUNKS, `${sent} chunks had been sent when it came to a stand`)
  socket.resume()
  await Promise.race([ended, closed()])
  t.equal(socket.readyState, WebSocket.OPEN)
})

test('a caller that asks on and on and reads nothing is cut off, whatever it asks', async t => {
  const { open } = await start(t, { answer: () => {} })
  for (const [first, message] of [[null, Buffer.from('x')], [null, '{'], [create({ input: 'x' }), '{']] as const) {
    const { socket } = await open()
    socket.on('error', () => {}).pause()
    if (first !== null) socket.send(JSON.stringify(first))
    const failures: Error[] = []
    const note = (error?: Error | null) => { if (error) failures.push(error) }
    for (let thousands = 0; thousands < 200 && failures.length === 0; thousands++) {
      for (let at = 0; at < 1000; at++) socket.send(message, note)
      await wait(5)
    }
    t.match(failures[0], /EPIPE|ECONNRESET|not open/)
  }
})

test('a key that is revoked ends its connections', async t => {
  const { url, key, folder } = await start(t)
  const mine = await key('acme')
  const { say, closed } = await converse(t, url, mine)
  t.match((await say(create({ input: 'x' }))).last, { type: 'response.completed' })
  const store = openSqlite(`${folder}/data/torchgate.db`)
  await store.keys.revoke((await store.keys.list()).at(-1)!.id, new Date())
  await store.close()
  // A key that was good is remembered for five seconds.
  t.ok(await eventually(async () => (await say(create({ input: 'x' }))).last['error']?.code === 'invalid_api_key', 8000))
  t.match(await closed(), { code: 1008, why: /no longer good/ })
})

test('the gateway says goodbye, and lets the response come to its end', async t => {
  let finish = () => {}
  const { open, gateway } = await start(t, { answer: (body, response) => { finish = () => { complete(body, response, { content: 'Late.' }) } } })
  const [idle, busy] = [await open(), await open()]
  const turn = busy.say(create({ input: 'x' }))
  await wait(100)
  const closing = gateway.close()
  t.match(await idle.closed(), { code: 1001 })
  finish()
  t.match((await turn).last, { type: 'response.completed' })
  t.match(await busy.closed(), { code: 1001 })
  await closing
})

test('a connection does not keep a gateway from closing', async t => {
  const { open, gateway } = await start(t, { answer: () => {} })
  const { say, socket } = await open()
  const turn = say(create({ input: 'x' }))
  await wait(100)
  socket.pause()
  const begun = performance.now()
  await gateway.close(AbortSignal.abort())
  t.ok(performance.now() - begun < 3000)
  socket.resume()
  await turn.catch(() => {})
})

test('whoever was refused and keeps its half of the connection open holds up no gateway', async t => {
  const { url, key, gateway } = await start(t)
  const { hostname, port } = new URL(url)
  const refused = (more: string) => new Promise<string>((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    t.teardown(() => { socket.destroy() })
    let text = ''
    socket.on('data', bytes => { text += bytes }).once('end', () => { resolve(text) }).on('error', reject)
    socket.write(`GET /v1/responses HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n${more}\r\n`)
  })
  t.match(await refused(''), /401[^]*missing_api_key/)
  t.match(await refused(`authorization: Bearer ${await key('acme')}\r\nsec-websocket-version: 12\r\n`), /400[^]*malformed_request/)
  const isClosed = gateway.close(AbortSignal.abort()).then(() => true)
  t.ok(await Promise.race([isClosed, wait(4000, false)]))
})

test('a conversation goes on, kept or not, for its tenant alone', async t => {
  const { open, sent, client } = await start(t)
  const { say } = await open()
  const prepared = await say(create({ input: 'Prepare.', instructions: 'Be brief.', generate: false }))
  t.match(prepared.last, { type: 'response.completed', response: { output: [], usage: { total_tokens: 0 } } })
  const first = await say(create({ input: 'One.', previous_response_id: prepared.last['response'].id }))
  t.strictSame(sent().map(({ content }) => content), ['Prepare.', 'One.'])
  const kept = (await say(create({ input: 'Two.', previous_response_id: first.last['response'].id, store: true }))).last['response']
  t.equal(sent().length, 4)
  const openai = await client('acme')
  t.equal((await openai.responses.inputItems.list(kept.id)).data.length, 4, 'with all that was not kept before it')
  await openai.responses.create({ model: 'm', input: 'Three.', previous_response_id: kept.id })
  t.equal(sent().length, 6)
  const stranger = await open('other')
  t.match((await stranger.say(create({ input: 'x', previous_response_id: kept.id }))).last, { error: { code: 'previous_response_not_found' } })
})

test('what only prepares is a request too', async t => {
  const { open, records } = await start(t)
  const { say } = await open('poor')
  t.match((await say(create({ input: 'x', generate: false }))).last, { type: 'response.completed' })
  t.match((await say(create({ input: 'x', generate: false }))).last, { type: 'error', status: 429, error: { code: 'rate_limit_exceeded' } })
  t.match(await records(2), [{ outcome: 'ok', limit: null }, { outcome: 'rate_limited', limit: 'tenant:requests' }])
})

test('what is secret once stays so on the connection', async t => {
  const { open, script } = await start(t)
  const { say } = await open('acme', { 'x-torchgate-class': 'restricted' })
  t.match((await say(create({ input: 'x' }))).last, { type: 'error', error: { code: 'no_eligible_target' } })
  t.equal(script.asked.length, 0)
})

test('what is referred to on a connection is as secret there as it was', async t => {
  const { open, client, records } = await start(t)
  const { say } = await open()
  const secret = await (await client('acme')).responses.create({ model: 'm', input: 'A secret.' }, { headers: { 'x-torchgate-class': 'confidential' } })
  const { last } = await say(create({ input: 'Go on.', previous_response_id: secret.id }))
  t.equal(last['type'], 'response.completed')
  await say(create({ input: [{ type: 'item_reference', id: last['response'].output[0].id }, { role: 'user', content: 'And?' }] }))
  await say(create({ input: 'Something else.' }))
  t.strictSame((await records(4)).map(each => each['class']), ['confidential', 'confidential', 'confidential', 'internal'])
})
