/** Models, vectors and legacy completions. */
import { core, exact, type Check } from '../check.ts'
import { expect, show, type Json, type Server } from '../server.ts'
import { PATH as CHAT_PATH, QUESTION } from './chat.ts'

const embeds = ({ target }: Server, input: unknown, more: Json = {}) => ({ model: target.embeddingModel, input, encoding_format: 'float', ...more })
const completes = ({ target }: Server, more: Json = {}) => ({ model: target.model, prompt: QUESTION, temperature: 0, max_tokens: 12, ...more })

const isModel = (model: Json) => model.object === 'model' && typeof model.id === 'string' && Number.isInteger(model.created) && typeof model.owned_by === 'string'
const isNear = (one: readonly number[], other: readonly number[]) => one.length === other.length && one.every((value, index) => Math.abs(value - other[index]!) < 1e-3)

export const OTHERS: readonly Check[] = [
  core('models.list', 'a list of models, the one asked about among them', async server => {
    const { object, data } = (await server.get('/models')).json()
    expect(object === 'list' && data.every(isModel), show(data))
    expect(data.some(({ id }: Json) => id === server.target.model), `${server.target.model} is not in ${show(data.map(({ id }: Json) => id))}`)
  }),
  core('models.one', 'one model, its name percent-encoded', async server => {
    const model = (await server.get(`/models/${encodeURIComponent(server.target.model)}`)).json()
    expect(isModel(model) && model.id === server.target.model, show(model))
  }),
  core('models.unknown', 'a model that is not there, with a slash in its name: 404 model_not_found', async server => {
    const reply = await server.get('/models/no%2Fsuch')
    expect(reply.status === 404 && reply.json().error?.code === 'model_not_found', `${reply.status} ${show(reply.text)}`)
  }),
  core('embeddings.shape', 'vectors in the order of the inputs, with usage', async server => {
    const { object, data, usage } = await server.ok('/embeddings', embeds(server, ['one', 'two', 'one']))
    expect(object === 'list' && data.map(({ index }: Json) => index).join() === '0,1,2' && data.every((one: Json) => one.object === 'embedding'), show(data.map(({ index, object: kind }: Json) => [index, kind])))
    expect(isNear(data[0].embedding, data[2].embedding) && !isNear(data[0].embedding, data[1].embedding), 'they are not in order')
    expect(usage.prompt_tokens > 0 && usage.total_tokens === usage.prompt_tokens, show(usage))
  }),
  core('embeddings.base64', 'base64 is the same vector, as little-endian float32', async server => {
    const { data: [plain] } = await server.ok('/embeddings', embeds(server, 'one'))
    const { data: [packed] } = await server.ok('/embeddings', embeds(server, 'one', { encoding_format: 'base64' }))
    expect(typeof packed.embedding === 'string', show(packed.embedding))
    const bytes = Buffer.from(packed.embedding, 'base64')
    expect(isNear(Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(index * 4)), plain.embedding), 'they differ')
  }),
  core('embeddings.tokens', 'lists of token ids are inputs too', async server => {
    expect((await server.ok('/embeddings', embeds(server, [[5, 6, 7], [8, 9]]))).data.length === 2, 'not two vectors')
  }),
  core('completions.shape', 'text_completion, choices with text, usage', async server => {
    const { id, object, choices, usage } = await server.ok('/completions', completes(server))
    expect(object === 'text_completion' && typeof id === 'string' && typeof choices[0].text === 'string' && choices[0].index === 0, show({ id, object, choices }))
    expect(usage.total_tokens === usage.prompt_tokens + usage.completion_tokens, show(usage))
  }),
  exact('completions.sixteen', 'without max_tokens at most 16 tokens come', async server => {
    const { object, usage } = await server.ok('/completions', completes(server, { max_tokens: undefined }))
    expect(object === 'text_completion' && usage.completion_tokens <= 16, show({ object, usage }))
  }),
  core('completions.stream', 'a stream gives the text of the whole answer, and [DONE]', async server => {
    const whole = await server.ok('/completions', completes(server))
    const streamed = await server.stream('/completions', completes(server))
    const text = streamed.datas().map(({ choices }) => choices[0]?.text ?? '').join('')
    expect(text === whole.choices[0].text && streamed.events.at(-1)?.data === '[DONE]', `${show(text)} instead of ${show(whole.choices[0].text)}`)
  }),
  core('completions.list', 'a list of prompts has a choice for each', async server => {
    const { choices } = await server.ok('/completions', completes(server, { prompt: ['Hello', 'Count'], max_tokens: 2 }))
    expect(choices.map(({ index }: Json) => index).toSorted().join() === '0,1', show(choices))
  }),
  core('embeddings.model-unknown', 'a model that is not there: 404 model_not_found', async server => {
    for (const path of ['/embeddings', CHAT_PATH]) {
      const reply = await server.post(path, { model: 'no-such-model', input: 'x', messages: [{ role: 'user', content: 'x' }] })
      expect(reply.status === 404, `${path}: ${reply.status} ${show(reply.text)}`)
    }
  })
]
