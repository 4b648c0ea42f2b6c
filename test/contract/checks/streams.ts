/** POST /chat/completions, streamed. */
import { core, exact, type Check } from '../check.ts'
import { expect, show, type Json, type Server, type Streamed } from '../server.ts'
import { asks, PATH, stopIn } from './chat.ts'

const stream = (server: Server, more: Json = {}) => server.stream(PATH, asks(server, more))
const counted = { stream_options: { include_usage: true } }

/** The content of one choice, in order. */
export const said = (streamed: Streamed, index = 0): string =>
  streamed.datas().flatMap(({ choices }) => choices).filter((choice: Json) => choice.index === index).map(({ delta }: Json) => delta.content ?? '').join('')

const endOf = (streamed: Streamed, index = 0): Json => streamed.datas().flatMap(({ choices }) => choices).findLast((choice: Json) => choice.index === index && choice.finish_reason !== null)?.finish_reason

export const STREAMS: readonly Check[] = [
  core('stream.form', 'text/event-stream, not cached, data: alone, [DONE] last', async server => {
    const { headers, events } = await stream(server)
    expect(headers.get('content-type')?.startsWith('text/event-stream') === true, `content-type ${headers.get('content-type')}`)
    expect(headers.get('cache-control')?.includes('no-cache') === true, `cache-control ${headers.get('cache-control')}`)
    expect(events.every(({ name }) => name === null), 'events have names')
    expect(events.at(-1)?.data === '[DONE]' && events.filter(({ data }) => data === '[DONE]').length === 1, `the last is ${show(events.at(-1)?.data)}`)
  }),
  core('stream.head', 'id, object, created and model are the same in every chunk', async server => {
    const heads = new Set((await stream(server)).datas().map(({ id, object, created, model }) => JSON.stringify({ id, object, created, model })))
    expect(heads.size === 1 && [...heads][0]!.includes('"chat.completion.chunk"'), show([...heads]))
  }),
  core('stream.order', 'the role first; then content; one chunk with finish_reason and an empty delta', async server => {
    const choices = (await stream(server)).datas().map(({ choices: [choice] }) => choice)
    expect(choices[0]?.delta.role === 'assistant', `first ${show(choices[0])}`)
    expect(choices.slice(1).every(({ delta }) => delta.role === undefined || delta.role === null), 'the role is told again')
    const ends = choices.filter(choice => choice.finish_reason !== null && choice.finish_reason !== undefined)
    expect(ends.length === 1 && ends[0] === choices.at(-1), `${ends.length} chunks with finish_reason`)
    expect(!ends[0].delta.content, `with the end comes ${show(ends[0].delta)}`)
  }),
  core('stream.no-empty-choices', 'no chunk without choices, where usage was not asked for', async server => {
    expect((await stream(server)).datas().every(({ choices }) => choices.length > 0), 'there is one')
  }),
  core('stream.same', 'a stream gives the text, the finish_reason and the usage of the whole answer', async server => {
    const whole = await server.ok(PATH, asks(server))
    const streamed = await stream(server, counted)
    expect(said(streamed) === whole.choices[0].message.content, `${show(said(streamed))} instead of ${show(whole.choices[0].message.content)}`)
    expect(endOf(streamed) === whole.choices[0].finish_reason, `finish_reason ${show(endOf(streamed))} instead of ${show(whole.choices[0].finish_reason)}`)
    const { usage } = streamed.datas().at(-1)!
    for (const name of ['prompt_tokens', 'completion_tokens', 'total_tokens']) expect(usage[name] === whole.usage[name], `${show(usage)} instead of ${show(whole.usage)}`)
  }),
  core('stream.usage', 'include_usage: a last chunk without choices has the usage', async server => {
    const { choices, usage } = (await stream(server, counted)).datas().at(-1)!
    expect(choices.length === 0 && usage.total_tokens === usage.prompt_tokens + usage.completion_tokens, show({ choices, usage }))
  }),
  exact('stream.usage-null', 'include_usage: usage is null in every other chunk', async server => {
    expect((await stream(server, counted)).datas().slice(0, -1).every(({ usage }) => usage === null), 'it is not')
  }),
  core('stream.length', 'max_tokens ends a stream with length', async server => {
    const streamed = await stream(server, { max_tokens: 3 })
    expect(endOf(streamed) === 'length', `finish_reason ${show(endOf(streamed))}`)
  }),
  core('stream.stop', 'of a stop sequence not a letter is sent', async server => {
    const { stop, before } = stopIn((await server.ok(PATH, asks(server))).choices[0].message.content)
    const streamed = await stream(server, { stop })
    expect(said(streamed) === before && endOf(streamed) === 'stop', `${show(said(streamed))}, ${show(endOf(streamed))}`)
  }),
  core('stream.n', 'n choices in one stream, each with its end', async server => {
    const streamed = await stream(server, { n: 2 })
    expect(said(streamed, 0) !== '' && said(streamed, 1) !== '' && endOf(streamed, 0) !== undefined && endOf(streamed, 1) !== undefined, show([said(streamed, 0), said(streamed, 1)]))
    expect(streamed.datas().every(({ choices }) => choices.every(({ index }: Json) => index < 2)), 'there are more choices')
  }),
  core('stream.pieces', 'a stream comes in pieces', async server => {
    expect((await stream(server)).datas().filter(({ choices }) => choices[0]?.delta.content).length > 1, 'it came as one')
  })
]
