/** POST /responses, by Open Responses 2026-04-24. */
import { faultsOfResponse, faultsOfStream } from '../../gateway/open-responses.ts'
import { core, exact, type Check } from '../check.ts'
import { expect, show, type Json, type Server } from '../server.ts'
import { QUESTION } from './chat.ts'

const PATH = '/responses'
const asks = ({ target }: Server, more: Json = {}) => ({ model: target.model, input: QUESTION, temperature: 0, max_output_tokens: 200, ...more })
const textOf = ({ output }: Json): string => output.filter(({ type }: Json) => type === 'message').flatMap(({ content }: Json) => content).map(({ text }: Json) => text ?? '').join('')
const LOOK = { type: 'function', name: 'look', parameters: { type: 'object', properties: { at: { type: 'string' } }, required: ['at'], additionalProperties: false }, strict: true }

export const RESPONSES: readonly Check[] = [
  core('responses.text', 'an input has a message, with status completed and usage', async server => {
    const response = await server.ok(PATH, asks(server))
    expect(response.object === 'response' && response.status === 'completed' && textOf(response) !== '', show(response))
    expect(response.usage.total_tokens === response.usage.input_tokens + response.usage.output_tokens, show(response.usage))
  }),
  exact('responses.shape', 'every member that Open Responses asks for is there', async server => {
    const faults = faultsOfResponse(await server.ok(PATH, asks(server)))
    expect(faults.length === 0, show(faults.join('; ')))
  }),
  core('responses.stream', 'events have their type as name, end with the response, and give its text', async server => {
    const whole = await server.ok(PATH, asks(server))
    const streamed = await server.stream(PATH, asks(server))
    const datas = streamed.datas()
    expect(streamed.events.filter(({ data }) => data !== '[DONE]').every(({ name }, index) => name === datas[index].type), 'names and types differ')
    const text = datas.filter(({ type }) => type === 'response.output_text.delta').map(({ delta }) => delta).join('')
    const last = datas.at(-1)!
    expect(last.type === 'response.completed' && text === textOf(whole) && textOf(last.response) === text, `${show(text)} instead of ${show(textOf(whole))}`)
    for (const name of ['input_tokens', 'output_tokens', 'total_tokens']) expect(last.response.usage[name] === whole.usage[name], `${show(last.response.usage)} instead of ${show(whole.usage)}`)
  }),
  exact('responses.events', 'every event is known, whole, in order, and numbered from 0 by 1', async server => {
    const faults = faultsOfStream((await server.stream(PATH, asks(server))).datas())
    expect(faults.length === 0, show(faults.join('; ')))
  }),
  core('responses.cut', 'max_output_tokens: status incomplete, and why', async server => {
    const { status, incomplete_details: details } = await server.ok(PATH, asks(server, { max_output_tokens: 16, input: 'Count from 1 to 100' }))
    if (status !== 'completed') expect(status === 'incomplete' && details?.reason === 'max_output_tokens', show({ status, details }))
  }),
  core('responses.tool', 'a forced function is called, and its result is taken', async server => {
    const forced = asks(server, { tools: [LOOK], tool_choice: { type: 'function', name: 'look' } })
    const { output } = await server.ok(PATH, forced)
    const call = output.find(({ type }: Json) => type === 'function_call')
    expect(call?.name === 'look' && typeof JSON.parse(call.arguments).at === 'string', show(output))
    await server.ok(PATH, asks(server, { tools: [LOOK], tool_choice: 'none', input: [{ role: 'user', content: 'Look.' }, call, { type: 'function_call_output', call_id: call.call_id, output: 'Nothing.' }] }))
  }),
  core('responses.hosted-tools', 'tools that a provider would run itself, and namespaces, do not end the call', async server => {
    const { status } = await server.ok(PATH, asks(server, { tools: [{ type: 'web_search' }, { type: 'namespace', name: 'team', description: 'Theirs.', tools: [LOOK] }] }))
    expect(status === 'completed', `status ${show(status)}`)
  }),
  core('responses.previous', 'a previous_response_id that is not there is refused, never ignored', async server => {
    const { status, text } = await server.post(PATH, asks(server, { previous_response_id: `resp_${'0'.repeat(48)}` }))
    expect(status === 400 || status === 404, `${status} ${show(text)}`)
  })
]
