/** The AI SDK where it speaks Anthropic's dialect. */
import { createAnthropic } from '@ai-sdk/anthropic'
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'
import { test } from 'tap'
import { ANSWER, QUESTION, serve } from './served.ts'

globalThis.AI_SDK_LOG_WARNINGS = false

test('the AI SDK over /v1/messages', { timeout: 60_000 }, async t => {
  const { apiKey, url, sent, script } = await serve(t)
  const anthropic = createAnthropic({ apiKey, baseURL: `${url}/v1` })
  const weather = tool({
    description: 'The weather.',
    inputSchema: jsonSchema<{ town: string }>({ type: 'object', properties: { town: { type: 'string' } }, required: ['town'], additionalProperties: false }),
    execute: async ({ town }) => `Rain in ${town}.`
  })

  await t.test('a turn and a stream of the local model', async t => {
    const whole = await generateText({ model: anthropic('pilot'), prompt: QUESTION, temperature: 0 })
    t.equal(whole.text, ANSWER)
    t.equal(whole.finishReason, 'stop')
    const streamed = streamText({ model: anthropic('pilot'), prompt: QUESTION, temperature: 0 })
    t.equal(await streamed.text, ANSWER)
    t.equal((await streamed.usage).outputTokens, whole.usage.outputTokens)
  })

  await t.test('a tool is called and its result heard, whole and streamed', async t => {
    const rest = { model: anthropic('m'), prompt: 'Rain?', tools: { weather }, stopWhen: stepCountIs(3) }
    t.equal((await generateText(rest)).text, 'It rains in Oslo.')
    t.match(sent(), [{ role: 'user' }, { role: 'assistant', tool_calls: [{ id: 'call_1', function: { name: 'weather', arguments: '{"town":"Oslo"}' } }] }, { role: 'tool', tool_call_id: 'call_1', content: /Rain in Oslo/ }])
    t.equal(await streamText(rest).text, 'It rains in Oslo.')
    t.equal(script.asked.length, 4)
  })

  await t.test('a refusal keeps its status and its sentence', async t => {
    await t.rejects(generateText({ model: anthropic('m'), prompt: 'Fail.', maxRetries: 0 }), { statusCode: 400, message: /Too warm/ })
    await t.rejects(generateText({ model: anthropic('none'), prompt: 'Hi.', maxRetries: 0 }), { statusCode: 404, message: /none/ })
  })
})
