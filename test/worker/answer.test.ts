import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import tap, { test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { BodyOutlet, sendError, StreamOutlet } from '../../src/worker/answer.ts'

const ENVELOPE = { model: 'pilot', fingerprint: 'fp_0' }
const USAGE = { promptTokens: 7, completionTokens: 3, cachedTokens: 2 }

let respond: (response: ServerResponse) => void = () => {}
const server = createServer((_, response) => { respond(response) }).listen(0, '127.0.0.1')
await once(server, 'listening')
tap.teardown(() => { server.closeAllConnections(); server.close() })

/** What arrives of an answer that `write` writes. */
async function arriving (write: (response: ServerResponse) => void): Promise<IncomingMessage> {
  respond = write
  const [response] = await once(get({ port: (server.address() as AddressInfo).port, agent: false }), 'response')
  return response
}

const eventsOf = (stream: string): string[] => stream.split('\n\n').slice(0, -1).map(event => event.slice('data: '.length))
const contentOf = (events: readonly string[]): string =>
  events.filter(event => event !== '[DONE]').map(event => JSON.parse(event).choices?.[0]?.delta?.content ?? '').join('')

test('a whole answer is one body with its usage', async t => {
  const response = await arriving(raw => {
    const outlet = new BodyOutlet(raw, ENVELOPE)
    outlet.text('a')
    outlet.text('b')
    outlet.finish('stop', USAGE)
  })
  t.match(JSON.parse(await text(response)), {
    object: 'chat.completion', model: 'pilot', choices: [{ message: { content: 'ab' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10, prompt_tokens_details: { cached_tokens: 2 } }
  })
})

test('an answer without a token is still a whole stream', async t => {
  const events = eventsOf(await text(await arriving(raw => { new StreamOutlet(raw, ENVELOPE, false).finish('stop', USAGE) })))
  t.equal(events.length, 3)
  t.match(JSON.parse(events[0]!), { choices: [{ delta: { role: 'assistant', content: '' } }] })
  t.equal(events[2], '[DONE]')
})

test('a reader that does not keep up gets everything, in fewer events', async t => {
  const pieces = 20_000
  const response = await arriving(raw => {
    const outlet = new StreamOutlet(raw, ENVELOPE, false)
    outlet.begin()
    for (let i = 0; i < pieces; i++) outlet.text(`${i} `)
    raw.once('drain', () => { outlet.finish('stop', USAGE) })
  })
  const events = eventsOf(await text(response))
  t.equal(contentOf(events), Array.from({ length: pieces }, (_, i) => `${i} `).join(''))
  t.ok(events.length < pieces / 10, `${events.length} events`)
  t.equal(events.at(-1), '[DONE]')
})

test('a reader that takes nothing is given up at a megabyte', async t => {
  const thrown = Promise.withResolvers<{ error: unknown, pieces: number }>()
  await arriving(raw => {
    const outlet = new StreamOutlet(raw, ENVELOPE, false)
    outlet.begin()
    const piece = 'x'.repeat(1024)
    for (let i = 0; ; i++) {
      try {
        outlet.text(piece)
      } catch (error) {
        thrown.resolve({ error, pieces: i })
        return
      }
    }
  })
  const { error, pieces } = await thrown.promise
  t.match(error, { code: 'client_closed' })
  t.ok(pieces < 4096, `${pieces} KiB kept`)
})

test('an error before the first byte is a status and a body', async t => {
  const response = await arriving(raw => { sendError(raw, new GatewayError('backend_overloaded', 'Full.', { retryAfterS: 0.2 })) })
  t.equal(response.statusCode, 503)
  t.equal(response.headers['retry-after'], '1')
  t.strictSame(JSON.parse(await text(response)), { error: { message: 'Full.', type: 'server_error', param: null, code: 'backend_overloaded' } })
})

test('an error after it is the last event, and there is no [DONE]', async t => {
  const response = await arriving(raw => {
    const outlet = new StreamOutlet(raw, ENVELOPE, false)
    outlet.begin()
    outlet.text('half an ans')
    sendError(raw, new GatewayError('backend_failed', 'The model could not compute this answer.'))
  })
  const events = eventsOf(await text(response))
  t.equal(contentOf(events), 'half an ans')
  t.match(JSON.parse(events.at(-1)!), { error: { code: 'backend_failed', type: 'server_error' } })
  t.notOk(events.includes('[DONE]'))
})
