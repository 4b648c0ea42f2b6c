/** LangChain's `@langchain/openai`. */
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { test } from 'tap'
import { ANSWER, QUESTION, serve } from './served.ts'

const PARAMETERS = { type: 'object', properties: { town: { type: 'string' } }, required: ['town'], additionalProperties: false }
const WEATHER = { type: 'function', function: { name: 'weather', description: 'The weather.', parameters: PARAMETERS } }

test('LangChain', { timeout: 60_000 }, async t => {
  const { apiKey, url, sent } = await serve(t)
  const configuration = { baseURL: `${url}/v1` }
  const chat = (model: string, more = {}) => new ChatOpenAI({ model, apiKey, temperature: 0, maxRetries: 0, configuration, ...more })

  for (const useResponsesApi of [false, true]) {
    await t.test(useResponsesApi ? 'over responses' : 'over chat completions', async t => {
      const whole = await chat('pilot', { useResponsesApi }).invoke(QUESTION)
      t.equal(textOf(whole), ANSWER)
      t.ok((whole as unknown as { usage_metadata?: { output_tokens: number } }).usage_metadata!.output_tokens > 0)
      let text = ''
      for await (const piece of await chat('pilot', { useResponsesApi }).stream(QUESTION)) text += textOf(piece)
      t.equal(text, ANSWER)

      const called = await chat('m', { useResponsesApi }).bindTools([WEATHER]).invoke('Rain?')
      t.match(called.tool_calls, [{ id: 'call_1', name: 'weather', args: { town: 'Oslo' } }])
      const heard = await chat('m', { useResponsesApi }).bindTools([WEATHER]).invoke([{ role: 'user', content: 'Rain?' }, called, { role: 'tool', content: 'Rain.', tool_call_id: 'call_1' }])
      t.equal(textOf(heard), 'It rains in Oslo.')
      t.match(sent().at(-1), { role: 'tool', tool_call_id: 'call_1', content: 'Rain.' })

      await t.rejects(chat('m', { useResponsesApi }).invoke('Fail.'), { status: 400, code: 'invalid_value', param: 'temperature' })
    })
  }

  await t.test('structured output of the built-in model, by a schema and by a tool it has to call', async t => {
    for (const method of ['jsonSchema', 'functionCalling']) {
      const output = await chat('pilot').withStructuredOutput(PARAMETERS, { name: 'place', method }).invoke('Say hello.')
      t.type((output as { town: string }).town, 'string', method)
    }
  })

  await t.test('vectors', async t => {
    const vectors = await new OpenAIEmbeddings({ model: 'pilot', apiKey, configuration, maxRetries: 0 }).embedDocuments(['one', 'two'])
    t.ok(vectors.length === 2 && vectors.every(vector => vector.length > 8))
  })
})

/** A message of a response has parts. */
const textOf = ({ content }: { content: unknown }) => typeof content === 'string' ? content : (content as { text?: string }[]).map(({ text }) => text ?? '').join('')
