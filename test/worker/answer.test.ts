import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import tap, { test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { BodyOutlet, sendError, StreamOutlet } from '../../src/worker/answer.ts'

const ENVELOPE = { model: 'pilot', fingerprint: 'fp_0', hasLogprobs: false }
const USAGE = { promptTokens: 7, completionTokens: 3, cachedTokens: 2, reasoningTokens: 1 }

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
    const choice = outlet.choice(0)
    choice.content('a', [])
    choice.content('b', [])
    choice.finish('stop')
    outlet.finish(USAGE)
  })
  t.match(JSON.parse(await text(response)), {
    object: 'chat.completion', model: 'pilot', choices: [{ message: { content: 'ab' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10, prompt_tokens_details: { cached_tokens: 2 }, completion_tokens_details: { reasoning_tokens: 1 } }
  })
})

test('the stop string that ended a choice is told, streamed and not', async t => {
  for (const Answer of [BodyOutlet, StreamOutlet]) {
    const response = await arriving(raw => {
      const outlet = new Answer(raw, ENVELOPE, false)
      outlet.choice(0).finish('stop', 'END')
      outlet.finish(USAGE)
    })
    t.match(await text(response), /"finish_reason":"stop","stop_reason":"END"\}/)
  }
})

test('an answer without a token is still a whole stream', async t => {
  const events = eventsOf(await text(await arriving(raw => {
    const outlet = new StreamOutlet(raw, ENVELOPE, false)
    outlet.choice(0).finish('stop')
    outlet.finish(USAGE)
  })))
  t.equal(events.length, 3)
  t.match(JSON.parse(events[0]!), { choices: [{ delta: { role: 'assistant', content: '' } }] })
  t.equal(events[2], '[DONE]')
})

test('a reader that does not keep up gets everything, in fewer events', async t => {
  const pieces = 20_000
  const response = await arriving(raw => {
    const outlet = new StreamOutlet(raw, ENVELOPE, false)
    const choice = outlet.choice(0)
    for (let i = 0; i < pieces; i++) choice.content(`${i} `, [])
    raw.once('drain', () => {
      choice.finish('stop')
      outlet.finish(USAGE)
    })
  })
  const events = eventsOf(await text(response))
  t.equal(contentOf(events), Array.from({ length: pieces }, (_, i) => `${i} `).join(''))
  t.ok(events.length < pieces / 10, `${events.length} events`)
  t.equal(events.at(-1), '[DONE]')
})

test('a reader that takes nothing is given up at a megabyte', async t => {
  const thrown = Promise.withResolvers<{ error: unknown, pieces: number }>()
  await arriving(raw => {
    const choice = new StreamOutlet(raw, ENVELOPE, false).choice(0)
    const piece = 'x'.repeat(1024)
    for (let i = 0; ; i++) {
      try {
        choice.content(piece, [])
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
    outlet.choice(0).content('half an ans', [])
    sendError(raw, new GatewayError('backend_failed', 'The model could not compute this answer.'))
  })
  const events = eventsOf(await text(response))
  t.equal(contentOf(events), 'half an ans')
  t.match(JSON.parse(events.at(-1)!), { error: { code: 'backend_failed', type: 'server_error' } })
  t.notOk(events.includes('[DONE]'))
})

const CALLS = [{ name: 'add', arguments: '{"a": 1}' }, { name: 'now', arguments: '{}' }]

test('calls are in the message, with an id of their own each, and without content there is none', async t => {
  const response = await arriving(raw => {
    const outlet = new BodyOutlet(raw, ENVELOPE)
    for (const call of CALLS) outlet.choice(0).call(call)
    outlet.choice(0).finish('tool_calls')
    outlet.finish(USAGE)
  })
  const { choices } = JSON.parse(await text(response))
  const [{ message }] = choices
  t.equal(message.content, null)
  t.strictSame(message.tool_calls.map((call: { function: unknown }) => call.function), CALLS)
  t.ok(message.tool_calls.every((call: { id: string, type: string }) => /^call_\w{24}$/.test(call.id) && call.type === 'function'))
  t.not(message.tool_calls[0].id, message.tool_calls[1].id)
  t.equal(choices[0].finish_reason, 'tool_calls')
})

test('a call in a stream is named once, and only its arguments follow', async t => {
  const events = eventsOf(await text(await arriving(raw => {
    const outlet = new StreamOutlet(raw, ENVELOPE, false)
    outlet.choice(0).content('Let me see.', [])
    for (const call of CALLS) outlet.choice(0).call(call)
    outlet.choice(0).finish('tool_calls')
    outlet.finish(USAGE)
  })))
  const deltas = events.slice(0, -1).map(event => JSON.parse(event).choices[0].delta)
  t.match(deltas, [
    { role: 'assistant', content: '' },
    { content: 'Let me see.' },
    { tool_calls: [{ index: 0, id: /^call_/, type: 'function', function: { name: 'add', arguments: '' } }] },
    { tool_calls: [{ index: 0, function: { arguments: '{"a": 1}' } }] },
    { tool_calls: [{ index: 1, id: /^call_/, type: 'function', function: { name: 'now', arguments: '' } }] },
    { tool_calls: [{ index: 1, function: { arguments: '{}' } }] },
    {}
  ])
  t.strictSame(Object.keys(deltas[3].tool_calls[0]), ['index', 'function'])
  t.match(JSON.parse(events.at(-2)!), { choices: [{ finish_reason: 'tool_calls' }] })
})

test('choices of a stream each begin once, and a slow reader gets each of them whole', async t => {
  const pieces = 5000
  const response = await arriving(raw => {
    const outlet = new StreamOutlet(raw, ENVELOPE, false)
    const choices = [0, 1].map(index => outlet.choice(index))
    for (let i = 0; i < pieces; i++) for (const [index, choice] of choices.entries()) choice.content(`${i * 2 + index} `, [])
    raw.once('drain', () => {
      for (const choice of choices) choice.finish('stop')
      outlet.finish(USAGE)
    })
  })
  const chunks = eventsOf(await text(response)).slice(0, -1).map(event => JSON.parse(event).choices[0])
  for (const index of [0, 1]) {
    const own = chunks.filter(choice => choice.index === index)
    t.equal(own.filter(choice => choice.delta.role === 'assistant').length, 1)
    t.equal(own.map(choice => choice.delta.content ?? '').join(''), Array.from({ length: pieces }, (_, i) => `${i * 2 + index} `).join(''))
    t.equal(own.at(-1).finish_reason, 'stop')
  }
  t.ok(chunks.length < pieces, `${chunks.length} events`)
})

test('thoughts have a member of their own, in a body and in a stream', async t => {
  const write = (outlet: BodyOutlet | StreamOutlet): void => {
    outlet.choice(0).reasoning('Two and two.')
    outlet.choice(0).content('Four.', [])
    outlet.choice(0).finish('stop')
    outlet.finish(USAGE)
  }
  const body = JSON.parse(await text(await arriving(raw => { write(new BodyOutlet(raw, ENVELOPE)) })))
  t.match(body.choices[0].message, { content: 'Four.', reasoning_content: 'Two and two.' })
  const events = eventsOf(await text(await arriving(raw => { write(new StreamOutlet(raw, ENVELOPE, false)) })))
  t.strictSame(events.slice(1, 3).map(event => JSON.parse(event).choices[0].delta), [{ reasoning_content: 'Two and two.' }, { content: 'Four.' }])
})

test('what a slow reader gets later is still told apart', async t => {
  const pieces = 5000
  const response = await arriving(raw => {
    const outlet = new StreamOutlet(raw, ENVELOPE, false)
    const choice = outlet.choice(0)
    for (let i = 0; i < pieces; i++) choice.reasoning(`${i} `)
    for (let i = 0; i < pieces; i++) choice.content(`${i} `, [])
    choice.call(CALLS[0]!)
    raw.once('drain', () => {
      choice.finish('tool_calls')
      outlet.finish(USAGE)
    })
  })
  const deltas = eventsOf(await text(response)).slice(0, -1).map(event => JSON.parse(event).choices[0].delta)
  const expected = Array.from({ length: pieces }, (_, i) => `${i} `).join('')
  t.equal(deltas.map(delta => delta.reasoning_content ?? '').join(''), expected)
  t.equal(deltas.map(delta => delta.content ?? '').join(''), expected)
  t.match(deltas.at(-2), { tool_calls: [{ function: { arguments: CALLS[0]!.arguments } }] })
})
