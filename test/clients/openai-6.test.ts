/** The major of OpenAI's client before this one. */
import OpenAI from 'openai-6'
import type { RunnableToolFunctionWithParse } from 'openai-6/lib/RunnableFunction'
import { test } from 'tap'
import { ask } from '../gateway/harness.ts'
import { ANSWER, QUESTION, serve } from './served.ts'

const WEATHER = { type: 'object', properties: { town: { type: 'string' } }, required: ['town'], additionalProperties: false }

test('openai 6', { timeout: 60_000 }, async t => {
  const { apiKey, url, sent } = await serve(t)
  const client = new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0 })

  await t.test('a turn and a stream of the local model are the same', async t => {
    const whole = await client.chat.completions.create(ask(QUESTION))
    t.equal(whole.choices[0]!.message.content, ANSWER)
    const stream = client.chat.completions.stream({ ...ask(QUESTION), stream_options: { include_usage: true } })
    let text = ''
    for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
    t.equal(text, ANSWER)
    t.match(await stream.totalUsage(), { completion_tokens: whole.usage!.completion_tokens, prompt_tokens: whole.usage!.prompt_tokens })
  })

  await t.test('its tool runner calls a tool and hears the rest', async t => {
    const towns: string[] = []
    const weather: RunnableToolFunctionWithParse<{ town: string }> = {
      type: 'function',
      function: { name: 'weather', description: 'The weather.', parameters: WEATHER, parse: text => JSON.parse(text) as { town: string }, function: ({ town }) => { towns.push(town); return 'Rain.' } }
    }
    const runner = client.chat.completions.runTools({ ...ask('Rain?', 'm'), stream: true, tools: [weather] })
    t.equal(await runner.finalContent(), 'It rains in Oslo.')
    t.strictSame(towns, ['Oslo'])
    t.match(sent(), [{ role: 'user' }, { role: 'assistant', tool_calls: [{ id: 'call_1' }] }, { role: 'tool', tool_call_id: 'call_1', content: 'Rain.' }])
  })

  await t.test('the local model\'s answer is parsed by a schema', async t => {
    const format = { type: 'json_schema' as const, json_schema: { name: 'sum', strict: true, schema: { type: 'object', properties: { sum: { type: 'integer' } }, required: ['sum'], additionalProperties: false } } }
    const { choices } = await client.chat.completions.parse({ ...ask('Add 2 and 3.'), response_format: format })
    t.type((choices[0]!.message.parsed as unknown as { sum: number }).sum, 'number')
  })

  await t.test('a response, whole and streamed', async t => {
    t.equal((await client.responses.create({ model: 'pilot', input: QUESTION, temperature: 0 })).output_text, ANSWER)
    const stream = client.responses.stream({ model: 'pilot', input: QUESTION, temperature: 0 })
    t.equal((await stream.finalResponse()).output_text, ANSWER)
  })

  await t.test('vectors come as it asks for them', async t => {
    const { data } = await client.embeddings.create({ model: 'pilot', input: ['one', 'two'] })
    t.strictSame(data.map(({ index }) => index), [0, 1])
    t.ok(data.every(({ embedding }) => embedding.length > 8 && embedding.every(Number.isFinite)))
  })

  await t.test('errors are of its classes, with code and param', async t => {
    await t.rejects(client.chat.completions.create(ask('Fail.', 'm')), { constructor: OpenAI.BadRequestError, param: 'temperature', code: 'invalid_value' })
    await t.rejects(client.chat.completions.create({ ...ask('x'), temperature: 9 }), { constructor: OpenAI.BadRequestError, param: 'temperature', message: /temperature/ })
    await t.rejects(client.chat.completions.create(ask('x', 'none')), { constructor: OpenAI.NotFoundError, code: 'model_not_found' })
    await t.rejects(new OpenAI({ apiKey: 'wrong', baseURL: `${url}/v1` }).models.list(), { constructor: OpenAI.AuthenticationError, code: 'invalid_api_key' })
  })
})
