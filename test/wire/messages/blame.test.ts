import { test } from 'tap'
import { GatewayError } from '../../../src/errors.ts'
import type { Members } from '../../../src/wire/check.ts'
import { blamed } from '../../../src/wire/messages/blame.ts'
import { toChat } from '../../../src/wire/messages/request.ts'

const image = (data: string) => ({ type: 'image', source: { type: 'base64', media_type: 'image/png', data } })

const BODY: Members = {
  model: 'm',
  max_tokens: 5,
  system: 'Be brief.',
  tools: [{ name: 'add', input_schema: { type: 'object' } }],
  messages: [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'add', input: {} }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: 'seen' }, image('AAAA')] }, { type: 'text', text: 'And?' }, image('BBBB')] }
  ]
}

const told = (param: string, Kind = GatewayError) => blamed(new Kind('unsupported_value', `'${param}' cannot be.`, { param }), toChat(structuredClone(BODY)), BODY) as GatewayError

test('what is wrong is told of the member that the caller sent', async t => {
  const places: Record<string, string> = {
    max_completion_tokens: 'max_tokens',
    'stop[1]': 'stop_sequences[1]',
    'tools[0].function.parameters.properties.a': 'tools[0].input_schema.properties.a',
    'tools[0].function.name': 'tools[0].name',
    'response_format.json_schema.schema.not': 'output_config.format.schema.not',
    // System text, the question, the call, its result; then the two images and the text of the user.
    'messages[4].content[0].image_url.url': 'messages[2].content[0].content[1].source',
    'messages[4].content[2].image_url.url': 'messages[2].content[2].source',
    'messages[1].content': 'messages',
    temperature: 'temperature'
  }
  for (const [param, place] of Object.entries(places)) t.match(told(param), { code: 'unsupported_value', param: place, message: `'${place}' cannot be.` }, param)
})

test('what is about no parameter, or of a kind of its own, stays as it is', async t => {
  class Own extends GatewayError {}
  t.type(told('stop', Own), Own)
  for (const error of [new Error('x'), new GatewayError('backend_timeout', 'x')]) t.equal(blamed(error, {}, {}), error)
})
