/** What the compliance suite of Open Responses (2026-04-24) asks, case by case, under its names. */
import { test, type Test } from 'tap'
import { startGateway } from './harness.ts'
import { faultsOfCompaction, faultsOfResponse, faultsOfStream } from './open-responses.ts'
import { complete, converse, startScript, type Members } from './script.ts'

const HEART = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='
const weather = {
  type: 'function',
  name: 'get_weather',
  description: 'Get the current weather for a location',
  parameters: { type: 'object', properties: { location: { type: 'string', description: 'The city and state, e.g. San Francisco, CA' } }, required: ['location'] }
}
const user = (content: unknown) => ({ type: 'message', role: 'user', content })

async function start (t: Test) {
  const script = await startScript(t, (body, response) => {
    if (body['tools'] === undefined) complete(body, response, { content: 'Hello to you.' })
    else complete(body, response, { tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'get_weather', arguments: '{"location":"San Francisco, CA"}' } }] }, 'tool_calls')
  })
  const running = await startGateway(t, `
backends: [{ name: far, kind: openai, baseUrl: ${script.url}, locality: local }]
models: [{ name: m, targets: [{ backend: far, model: m }] }]
tenants: [{ name: acme }]
`)
  const key = await running.key('acme')
  const post = async (body: Members, path = '') => {
    const answer = await fetch(`${running.url}/v1/responses${path}`, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: JSON.stringify(body) })
    return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() }
  }
  return { ...running, script, post, open: (headers?: Record<string, string>) => converse(t, running.url, key, headers), sent: () => script.asked.at(-1)!.body['messages'] as Members[] }
}

const read = (text: string): Members[] => text.trimEnd().split('\n\n').map(event => {
  const [name, data] = event.split('\n')
  const value = JSON.parse(data!.slice('data: '.length)) as Members
  if (name !== `event: ${value['type']}`) throw new Error(`${name} has ${value['type']}`)
  return value
})

test('over HTTP', async t => {
  const { post, sent } = await start(t)
  const answered = async (t: Test, body: Members): Promise<Members> => {
    const { status, text } = await post({ model: 'm', ...body })
    t.equal(status, 200, text)
    const response = JSON.parse(text) as Members
    t.strictSame(faultsOfResponse(response), [])
    t.ok(response['output'].length > 0)
    return response
  }

  await t.test('basic-response', async t => t.match(await answered(t, { input: [user('Say hello in exactly 3 words.')] }), { status: 'completed' }))

  await t.test('assistant-phase', async t => {
    const input = [
      { type: 'message', role: 'assistant', phase: 'commentary', content: 'I should answer with the saved number.' },
      { type: 'message', role: 'assistant', phase: 'final_answer', content: 'The number is four.' },
      user('Repeat only the number.')
    ]
    t.match(await answered(t, { input }), { status: 'completed' })
  })

  await t.test('response-output-phase-schema: a response with phases is one', async t => {
    const response = await answered(t, { input: 'x' })
    response['output'] = [{ ...response['output'][0], phase: 'commentary' }, { ...response['output'][0], phase: 'final_answer' }]
    t.strictSame(faultsOfResponse(response), [])
    response['output'][0].phase = 'thoughts'
    t.not(faultsOfResponse(response).length, 0)
  })

  await t.test('streaming-response', async t => {
    const { type, text } = await post({ model: 'm', input: [user('Count from 1 to 5.')], stream: true })
    t.match(type, /^text\/event-stream/)
    const events = read(text)
    t.strictSame(faultsOfStream(events), [])
    t.match(events.at(-1), { type: 'response.completed', response: { status: 'completed' } })
  })

  await t.test('system-prompt', async t => {
    t.match(await answered(t, { input: [{ type: 'message', role: 'system', content: 'You are a pirate.' }, user('Say hello.')] }), { status: 'completed' })
    t.match(sent(), [{ role: 'system', content: 'You are a pirate.' }, { role: 'user', content: 'Say hello.' }])
  })

  await t.test('tool-calling', async t => {
    const { output } = await answered(t, { input: [user("What's the weather like in San Francisco?")], tools: [weather] })
    t.match(output, [{ type: 'function_call', name: 'get_weather', arguments: '{"location":"San Francisco, CA"}', call_id: 'call_1' }])
    const events = read((await post({ model: 'm', input: 'x', tools: [weather], stream: true })).text)
    t.strictSame(faultsOfStream(events), [])
    t.match(events.map(({ type }) => type), ['response.created', 'response.in_progress', 'response.output_item.added', 'response.function_call_arguments.delta', 'response.function_call_arguments.done', 'response.output_item.done', 'response.completed'])
  })

  await t.test('image-input', async t => {
    t.match(await answered(t, { input: [user([{ type: 'input_text', text: 'What do you see?' }, { type: 'input_image', image_url: HEART }])] }), { status: 'completed' })
    t.match(sent(), [{ content: [{ type: 'text' }, { type: 'image_url', image_url: { url: HEART } }] }])
  })

  await t.test('multi-turn', async t => {
    t.match(await answered(t, { input: [user('My name is Alice.'), { type: 'message', role: 'assistant', content: 'Hello Alice!' }, user('What is my name?')] }), { status: 'completed' })
    t.equal(sent().length, 3)
  })

  await t.test('compact-response', async t => {
    const input = [user('We agreed to launch on Tuesday and notify support first.'), { type: 'message', role: 'assistant', content: 'Understood.' }]
    const { status, text } = await post({ model: 'm', prompt_cache_key: 'openresponses-compact-test', input }, '/compact')
    t.equal(status, 200, text)
    const compact = JSON.parse(text) as Members
    t.strictSame(faultsOfCompaction(compact), [])
    t.match(compact, { object: 'response.compaction', output: [{ type: 'message', role: 'user' }, { type: 'compaction' }], usage: { input_tokens: 7, output_tokens: 3 } })
    t.notMatch(text, 'Hello to you', 'the summary is for the gateway alone')
  })

  await t.test('compact-missing-model', async t => {
    const { status, text } = await post({ input: [user('Compact this conversation.')] }, '/compact')
    t.equal(status, 400)
    t.match(JSON.parse(text), { error: { code: 'missing_required_parameter', param: 'model' } })
  })
})

test('over a WebSocket', async t => {
  const { open, post, sent } = await start(t)
  const create = (more: Members) => ({ type: 'response.create', model: 'm', store: false, ...more })
  const completed = (t: Test, { events, last }: { events: Members[], last: Members }): Members => {
    t.strictSame(faultsOfStream(events), [])
    t.match(last, { type: 'response.completed', response: { status: 'completed', store: false } })
    return last['response'] as Members
  }
  const missing = { type: 'error', status: 400, error: { type: 'invalid_request_error', code: 'previous_response_not_found', param: 'previous_response_id' } }

  await t.test('websocket-response', async t => completed(t, await (await open()).say({ type: 'response.create', model: 'm', input: [user('Count from 1 to 3.')] })))

  await t.test('websocket-sequential-responses', async t => {
    const { say } = await open()
    const first = completed(t, await say(create({ input: 'Reply with exactly: first' })))
    const second = completed(t, await say(create({ input: 'Reply with exactly: second' })))
    t.not(first['id'], second['id'])
    t.equal(sent().length, 1, 'without being told to, nothing goes on')
  })

  await t.test('websocket-continuation', async t => {
    const { say } = await open()
    const { id } = completed(t, await say(create({ input: 'Remember the code word: cobalt. Reply with OK.' })))
    const second = completed(t, await say(create({ previous_response_id: id, input: 'What is the code word?' })))
    t.equal(second['previous_response_id'], id)
    t.match(sent().map(({ role, content }) => [role, content]), [['user', /cobalt/], ['assistant', 'Hello to you.'], ['user', 'What is the code word?']])
    completed(t, await say(create({ previous_response_id: second['id'], input: 'And?' })))
    t.equal(sent().length, 5)
  })

  await t.test('websocket-reconnect-store-false-recovery', async t => {
    const { id } = completed(t, await (await open()).say(create({ input: 'Remember the code word: copper.' })))
    const { say } = await open()
    t.match((await say(create({ previous_response_id: id, input: 'Try to continue.' }))).last, missing)
    completed(t, await say(create({ input: [user('Start anew.')] })))
  })

  await t.test('websocket-previous-response-not-found', async t => {
    const { events } = await (await open()).say(create({ previous_response_id: 'resp_openresponses_missing_1', input: 'This should fail.' }))
    t.match(events, [missing])
    t.equal(events.length, 1)
  })

  await t.test('websocket-failed-continuation-evicts-cache', async t => {
    const { say } = await open()
    const { id } = completed(t, await say(create({ input: 'Remember the code word: ember.' })))
    const failed = await say(create({ previous_response_id: id, input: [{ type: 'function_call_output', call_id: 'call_openresponses_missing', output: 'No matching call.' }] }))
    t.match(failed.last, { type: 'error', status: 400, error: { param: 'input[0].call_id' } })
    t.match((await say(create({ previous_response_id: id, input: 'Try to continue.' }))).last, missing)
  })

  await t.test('websocket-compact-new-chain', async t => {
    const input = [
      user([{ type: 'input_text', text: 'Remember the compaction code word: slate.' }]),
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'OK.' }] },
      user([{ type: 'input_text', text: 'Compress this conversation for later continuation.' }])
    ]
    const { output } = JSON.parse((await post({ model: 'm', input }, '/compact')).text) as Members
    const { say } = await open()
    completed(t, await say(create({ input: [...output, user('Continue from here.')], tools: [] })))
    t.match(sent().map(({ content }) => content), [/slate/, /Compress/, /Summary of the conversation so far:\n\nHello to you\./, 'Continue from here.'])
  })
})
