/** OpenAI's Agents SDK: the parts of `@openai/agents` without the one for voices. Over chat completions and over responses. */
import { Agent, Runner, setTracingDisabled, tool, type Model } from '@openai/agents-core'
import { OpenAIChatCompletionsModel, OpenAIResponsesModel } from '@openai/agents-openai'
import OpenAI from 'openai'
import { test } from 'tap'
import { ANSWER, QUESTION, serve } from './served.ts'

setTracingDisabled(true)

test('the Agents SDK', { timeout: 60_000 }, async t => {
  const { apiKey, url, sent } = await serve(t)
  const client = new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0 })
  const runner = new Runner({ tracingDisabled: true })
  const towns: string[] = []
  const weather = tool({
    name: 'weather',
    description: 'The weather.',
    parameters: { type: 'object', properties: { town: { type: 'string' } }, required: ['town'], additionalProperties: false },
    strict: true,
    execute: async input => { towns.push((input as { town: string }).town); return 'Rain.' }
  })

  const models: Readonly<Record<string, (model: string) => Model>> = {
    'chat completions': model => new OpenAIChatCompletionsModel(client, model),
    responses: model => new OpenAIResponsesModel(client, model)
  }
  for (const [name, of] of Object.entries(models)) {
    await t.test(`over ${name}: a turn and a stream of the local model`, async t => {
      const agent = new Agent({ name: 'Guide', instructions: '', model: of('pilot'), modelSettings: { temperature: 0 } })
      t.equal((await runner.run(agent, QUESTION)).finalOutput, ANSWER)
      const streamed = await runner.run(agent, QUESTION, { stream: true })
      let text = ''
      for await (const piece of streamed.toTextStream()) text += piece
      await streamed.completed
      t.equal(text, ANSWER)
      t.ok(streamed.state.usage.outputTokens > 0)
    })

    await t.test(`over ${name}: a tool is called, its result heard, whole and streamed`, async t => {
      const agent = new Agent({ name: 'Weatherman', instructions: 'Be brief.', model: of('m'), tools: [weather] })
      t.equal((await runner.run(agent, 'Rain?')).finalOutput, 'It rains in Oslo.')
      t.match(sent(), [{ role: /system|developer/ }, { role: 'user' }, { role: 'assistant', tool_calls: [{ id: 'call_1', function: { name: 'weather' } }] }, { role: 'tool', tool_call_id: 'call_1', content: 'Rain.' }])
      const streamed = await runner.run(agent, 'Rain?', { stream: true })
      await streamed.completed
      t.equal(streamed.finalOutput, 'It rains in Oslo.')
      t.strictSame(towns.splice(0), ['Oslo', 'Oslo'])
    })

    await t.test(`over ${name}: a refusal keeps its status, code and param`, async t => {
      const agent = new Agent({ name: 'Hot', model: of('m') })
      await t.rejects(runner.run(agent, 'Fail.'), { status: 400, code: 'invalid_value', param: 'temperature' })
      await t.rejects(runner.run(new Agent({ name: 'Nobody', model: of('none') }), 'Hi.'), { status: 404, code: 'model_not_found' })
    })
  }
})
