import { once } from 'node:events'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { test, type Test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { TranslatingOutlet, type Translation } from '../../src/http/dialect.ts'
import { HttpOutlet } from '../../src/http/outlet.ts'
import { Call } from '../../src/pipeline/call.ts'

/** Says in capitals what the chunks say. */
const LOUD: Translation = {
  whole: ({ choices }) => ({ loud: choices[0]!.message.content!.toUpperCase() }),
  chunk: ({ choices }) => (choices[0]?.delta.content ?? '').toUpperCase(),
  end: () => '.',
  failed: error => `!${error.code}`
}

/** What a caller gets when `say` has an outlet to speak to. */
async function answered (t: Test, say: (outlet: TranslatingOutlet) => Promise<void> | void): Promise<IncomingMessage> {
  const server = createServer((_request, response) => {
    const inner = new HttpOutlet(response, new Call('req_1', 'messages', []), new AbortController().signal, id => ({ 'x-own-id': id }))
    void say(new TranslatingOutlet(inner, LOUD))
  })
  t.teardown(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const [response] = await once(get({ port: (server.address() as AddressInfo).port, agent: false }), 'response')
  return response
}

const event = (content: string) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`
const EVENTS = [...['a', 'ü', '', 'c'].map(event), 'data: {"usage":{}}\n\n', 'data: [DONE]\n\n']

test('however the events are put into frames, the answer is the same', async t => {
  for (let cuts = 0; cuts < 2 ** (EVENTS.length - 1); cuts++) {
    const frames = EVENTS.reduce<string[]>((all, one, at) => at > 0 && (cuts >> (at - 1)) % 2 === 0 ? [...all.slice(0, -1), all.at(-1)! + one] : [...all, one], [])
    const response = await answered(t, async outlet => {
      outlet.begin()
      for (const frame of frames) await outlet.frame(Buffer.from(frame))
      outlet.end()
    })
    t.equal(await text(response), 'AÜC.', `${frames.length} frames`)
  }
})

test('a whole answer, with the headers of the dialect', async t => {
  const response = await answered(t, outlet => { outlet.body(Buffer.from('{}'), { choices: [{ message: { content: 'ü' } }] }) })
  t.match(response.headers, { 'content-type': /json/, 'content-length': '13', 'x-own-id': 'req_1' })
  t.equal(await text(response), '{"loud":"Ü"}')
})

test('a caller that reads slowly is waited for', async t => {
  const frame = Buffer.from(event('x'.repeat(100_000)))
  let waited = 0
  const response = await answered(t, async outlet => {
    outlet.begin()
    for (let i = 0; i < 100; i++) {
      const drained = outlet.frame(frame)
      if (drained !== undefined) waited++
      await drained
    }
    outlet.end()
  })
  t.equal((await text(response)).length, 10_000_000)
  t.ok(waited > 10, `${waited} times`)
})

test('an event that is no JSON breaks the answer off, in the words of the dialect', async t => {
  let thrown: unknown
  const response = await answered(t, outlet => {
    outlet.begin()
    try {
      void outlet.frame(Buffer.from('data: {"choices":}\n\n'))
    } catch (error) {
      thrown = error
      outlet.fail(error as GatewayError)
    }
    outlet.fail(new GatewayError('internal_error', 'Nobody hears this.'))
  })
  t.equal(await text(response), '!backend_invalid_answer')
  t.match(thrown, { code: 'backend_invalid_answer' })
})
