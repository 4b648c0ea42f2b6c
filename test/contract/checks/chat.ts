/** POST /chat/completions, whole answers: what is in them, and what the parameters do. */
import { core, exact, type Check } from '../check.ts'
import { expect, show, type Json, type Server } from '../server.ts'

export const PATH = '/chat/completions'
export const QUESTION = 'Count from 1 to 10'
/** Enough for a sentence, and for a thought before it. */
const MAX_TOKENS = 200

export const asks = ({ target }: Server, more: Json = {}, content = QUESTION): Json =>
  ({ model: target.model, messages: [{ role: 'user', content }], temperature: 0, seed: 1, max_tokens: MAX_TOKENS, ...more })

/** The server takes what it is asked, and answers it. */
export async function answered (server: Server, body: Json): Promise<void> {
  const { choices } = await server.ok(PATH, body)
  expect(typeof choices?.[0]?.message?.content === 'string', `choices ${show(choices)}`)
}

const textOf = (answer: Json): string => answer.choices[0].message.content ?? ''

/** Text of which a stop sequence can be made: it occurs late, and nowhere before. */
export function stopIn (text: string): { readonly stop: string, readonly before: string } {
  const at = Math.ceil(text.length / 2)
  const stop = text.slice(at, at + 3)
  expect(stop.length === 3, `too short an answer to be stopped: ${show(text)}`)
  return { stop, before: text.slice(0, text.indexOf(stop)) }
}

export const CHAT: readonly Check[] = [
  core('chat.shape', 'id, object, created in seconds, model, choices with index, message and finish_reason', async server => {
    const answer = await server.ok(PATH, asks(server))
    expect(typeof answer.id === 'string' && answer.id.length > 0, `id ${show(answer.id)}`)
    expect(answer.object === 'chat.completion', `object ${show(answer.object)}`)
    expect(Number.isInteger(answer.created) && Math.abs(answer.created - Date.now() / 1000) < 86_400 * 365 * 3, `created ${show(answer.created)}`)
    expect(typeof answer.model === 'string', `model ${show(answer.model)}`)
    const [choice] = answer.choices
    expect(answer.choices.length === 1 && choice.index === 0 && choice.message.role === 'assistant', `choices ${show(answer.choices)}`)
    expect(typeof choice.message.content === 'string', `content ${show(choice.message.content)}`)
    expect(['stop', 'length'].includes(choice.finish_reason), `finish_reason ${show(choice.finish_reason)}`)
    expect(!('tool_calls' in choice.message) || choice.message.tool_calls === null, 'tool_calls are there, and none was called')
  }),
  exact('chat.nulls-told', 'message.refusal and choice.logprobs are there, as null', async server => {
    const { choices: [choice] } = await server.ok(PATH, asks(server))
    expect(choice.message.refusal === null && choice.logprobs === null, `refusal ${show(choice.message.refusal)}, logprobs ${show(choice.logprobs)}`)
  }),
  core('chat.ids', 'every answer has an id of its own', async server => {
    const [one, two] = [await server.ok(PATH, asks(server, { max_tokens: 2 })), await server.ok(PATH, asks(server, { max_tokens: 2 }))]
    expect(one.id !== two.id, `twice ${show(one.id)}`)
  }),
  core('chat.usage', 'usage: total_tokens is the sum, none is 0', async server => {
    const { usage } = await server.ok(PATH, asks(server))
    expect(usage?.prompt_tokens > 0 && usage.completion_tokens > 0 && usage.total_tokens === usage.prompt_tokens + usage.completion_tokens, show(usage))
  }),
  exact('chat.usage-details', 'usage tells cached and reasoning tokens', async server => {
    const { usage } = await server.ok(PATH, asks(server))
    expect(Number.isInteger(usage.prompt_tokens_details?.cached_tokens) && Number.isInteger(usage.completion_tokens_details?.reasoning_tokens), show(usage))
  }),
  ...['max_tokens', 'max_completion_tokens'].map(name => core(`chat.${name}`, `${name} cuts exactly there, with finish_reason length`, async server => {
    const { choices, usage } = await server.ok(PATH, asks(server, { max_tokens: undefined, [name]: 3 }))
    expect(choices[0].finish_reason === 'length' && usage.completion_tokens === 3, `${show(choices[0].finish_reason)} after ${usage.completion_tokens} tokens`)
  })),
  core('chat.max-clamped', 'a max_tokens beyond the context is cut down, not refused', async server => {
    await answered(server, asks(server, { max_tokens: 32_000 }))
  }),
  core('chat.stop', 'stop ends the answer before the sequence, as a string and as a list', async server => {
    const { stop, before } = stopIn(textOf(await server.ok(PATH, asks(server))))
    for (const form of [stop, ['@@never@@', stop]]) {
      const { choices: [choice] } = await server.ok(PATH, asks(server, { stop: form }))
      expect(choice.message.content === before && choice.finish_reason === 'stop', `${show(choice.message.content)}, ${show(choice.finish_reason)} instead of ${show(before)}`)
    }
  }),
  core('chat.repeats', 'at temperature 0 the same question has the same answer', async server => {
    const [one, two] = [textOf(await server.ok(PATH, asks(server))), textOf(await server.ok(PATH, asks(server)))]
    expect(one === two, `${show(one)} and ${show(two)}`)
  }),
  core('chat.seed', 'the same seed draws the same answer at temperature 1', async server => {
    const [one, two] = [textOf(await server.ok(PATH, asks(server, { temperature: 1, seed: 7 }))), textOf(await server.ok(PATH, asks(server, { temperature: 1, seed: 7 })))]
    expect(one === two, `${show(one)} and ${show(two)}`)
  }),
  core('chat.n', 'n choices with indexes of their own; the prompt counts once, the answers all', async server => {
    const one = await server.ok(PATH, asks(server))
    const { choices, usage } = await server.ok(PATH, asks(server, { n: 2 }))
    expect(choices.map(({ index }: Json) => index).toSorted().join() === '0,1', `indexes ${show(choices.map(({ index }: Json) => index))}`)
    expect(usage.prompt_tokens === one.usage.prompt_tokens && usage.completion_tokens === 2 * one.usage.completion_tokens, `${show(usage)}; of one ${show(one.usage)}`)
  }),
  core('chat.logprobs', 'logprobs spell the content; top_logprobs are as many as asked, the likeliest first, none above 0', async server => {
    const { choices: [{ message, logprobs }] } = await server.ok(PATH, asks(server, { logprobs: true, top_logprobs: 2, max_tokens: 8 }))
    const tokens: Json[] = logprobs?.content ?? []
    expect(tokens.length > 0, `logprobs ${show(logprobs)}`)
    expect(Buffer.from(tokens.flatMap(({ bytes }) => bytes ?? [])).toString() === message.content, `they spell ${show(tokens.map(({ token }) => token).join(''))}, the content is ${show(message.content)}`)
    for (const { logprob, top_logprobs: top } of tokens) {
      expect(logprob <= 0 && top.length <= 2 && top.every((other: Json, index: number) => index === 0 || other.logprob <= top[index - 1].logprob), show(top))
    }
  }),
  core('chat.roles', 'developer, system, named users, parts of text and a called tool in the history are taken', async server => {
    await answered(server, asks(server, {
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', name: 'ann', content: [{ type: 'text', text: 'Hello' }] },
        { role: 'assistant', content: null, tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' } }] },
        { role: 'tool', tool_call_id: 'call_1', content: 'Nothing.' },
        { role: 'user', content: 'And?' }
      ]
    }))
    await answered(server, asks(server, { messages: [{ role: 'developer', content: 'Be brief.' }, { role: 'user', content: 'Hello' }] }))
  }),
  core('chat.nulls', 'null is the default of every parameter that may be null', async server => {
    const nulls = ['temperature', 'top_p', 'n', 'stop', 'seed', 'stream', 'stream_options', 'presence_penalty', 'frequency_penalty', 'logprobs', 'top_logprobs', 'logit_bias', 'max_completion_tokens', 'metadata', 'store', 'reasoning_effort', 'service_tier']
    await answered(server, asks(server, Object.fromEntries(nulls.map(name => [name, null]))))
  }),
  core('chat.unknown-members', 'members that nobody knows do no harm', async server => {
    await answered(server, asks(server, { nobody_knows_this: { a: 1 }, user: 'u', metadata: { a: 'b' } }))
  })
]
