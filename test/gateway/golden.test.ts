/** What every dialect says for every kind of backend, and what the backend was asked for it, as recorded in test/golden/KIND. */
import { test, type Test } from 'tap'
import { DOT } from '../wire/pictures.ts'
import { DIALECTS, eventsOf, PATHS, question, streamed, wholly, type Dialect } from './dialects.ts'
import { judgeOf } from './described.ts'
import { compare, heard } from './golden.ts'
import { pilotPool, startGateway } from './harness.ts'
import { startScript, type Members } from './script.ts'
import { anthropic, openai, type Asked, type Fixed } from './upstreams.ts'

interface Case { readonly name: string, readonly asked: Asked, readonly stream: boolean }
const CASES: readonly Case[] = [
  { name: 'text', asked: 'text', stream: false }, { name: 'text-stream', asked: 'text', stream: true },
  { name: 'tools', asked: 'tools', stream: false }, { name: 'tools-stream', asked: 'tools', stream: true },
  { name: 'error', asked: 'error', stream: false }, { name: 'error-stream', asked: 'error', stream: true },
  { name: 'broken-stream', asked: 'broken', stream: true }
]
/** A raw prompt has no tools, and Anthropic takes none. */
const casesOf = (dialect: Dialect, kind: string): readonly Case[] =>
  dialect !== 'completions' ? CASES : kind === 'anthropic' ? CASES.slice(0, 2) : CASES.filter(({ asked }) => asked !== 'tools')

type Ask = (dialect: Dialect, body: Members) => Promise<Response>

async function asking (t: Test, yaml: string, env: NodeJS.ProcessEnv = {}): Promise<Ask> {
  const { url, key } = await startGateway(t, `${yaml}\ntenants: [{ name: acme }]\n`, env)
  const apiKey = await key('acme')
  const judge = await judgeOf(url)
  return async (dialect, body) => {
    const path = PATHS[dialect]
    const answer = await fetch(url + path, { method: 'POST', headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }, body: JSON.stringify({ model: 'm', ...body }) })
    const wrong = judge(path, answer.status, answer.headers.get('content-type')!, await answer.clone().text())
    t.equal(wrong, '', `${path} answers as /openapi.json says`)
    return answer
  }
}

for (const [kind, fixed] of Object.entries({ openai, anthropic } as Record<string, (asked: Asked, path: string, isStream: boolean) => Fixed>)) {
  test(`in front of ${kind}`, { timeout: 60_000 }, async t => {
    let asked: Asked = 'text'
    const script = await startScript(t, (body, response, path) => {
      const [status, type, bytes] = fixed(asked, path, body['stream'] === true)
      response.writeHead(status, { 'content-type': type }).end(bytes)
    })
    const baseUrl = kind === 'openai' ? script.url : script.url.replace('/v1', '')
    const ask = await asking(t, `
backends: [{ name: far, kind: ${kind}, baseUrl: "${baseUrl}", locality: cloud, apiKey: { env: FAR_KEY } }]
models: [{ name: m, targets: [{ backend: far, model: upstream }] }]`, { FAR_KEY: 'sk-0123456789abcdef0123' })
    const transcripts = new Map<string, string>()
    for (const dialect of DIALECTS) {
      for (const { name, stream, asked: wanted } of casesOf(dialect, kind)) {
        asked = wanted
        script.asked.length = 0
        const body = question(dialect, 'Grüezi?', { stream, tool: asked === 'tools' })
        const answer = await heard(await ask(dialect, body))
        const sent = script.asked.map(one => `${one.path} ${JSON.stringify(one.body)}\n`).join('')
        transcripts.set(`${dialect}-${name}`, `${PATHS[dialect]} ${JSON.stringify(body)}\n-- the backend was asked\n${sent}-- the answer\n${answer}\n`)
      }
    }
    compare(t, kind, transcripts)
    asked = 'text'
    await sameEitherWay(t, ask, DIALECTS.filter(dialect => kind === 'openai' || dialect !== 'completions'), 'Grüezi?', tool => { asked = tool ? 'tools' : 'text' })
  })
}

const PROMPT = 'What is the capital of France?'
/** A picture for a model that cannot see; a suffix for one that only goes on. */
const IMPOSSIBLE: Readonly<Record<Dialect, Members>> = {
  chat: { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${DOT}` } }] }] },
  completions: { suffix: 'France' },
  messages: { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: DOT } }] }] },
  responses: { input: [{ role: 'user', content: [{ type: 'input_image', image_url: `data:image/png;base64,${DOT}` }] }] }
}

test('with the local model', { timeout: 60_000 }, async t => {
  // One slot: what is in the cache of prompts then depends on nothing but the order of the questions.
  const ask = await asking(t, `
backends:${pilotPool(1)}
models: [{ name: m, targets: [{ backend: pool, model: pilot }] }]`)
  const transcripts = new Map<string, string>()
  for (const dialect of DIALECTS) {
    for (const { name, stream, asked } of casesOf(dialect, 'local')) {
      if (asked === 'broken') continue
      const body = { ...question(dialect, PROMPT, { stream, tool: asked === 'tools' }), ...asked === 'error' && IMPOSSIBLE[dialect] }
      transcripts.set(`${dialect}-${name}`, `${PATHS[dialect]} ${JSON.stringify(body)}\n-- the answer\n${await heard(await ask(dialect, body))}\n`)
    }
  }
  compare(t, 'local', transcripts)
  await sameEitherWay(t, ask, DIALECTS, PROMPT)
})

async function sameEitherWay (t: Test, ask: Ask, dialects: readonly Dialect[], content: string, before: (tool: boolean) => void = () => {}): Promise<void> {
  for (const dialect of dialects) {
    for (const tool of dialect === 'completions' ? [false] : [false, true]) {
      before(tool)
      // The first one leaves its prompt in the cache, for both that are compared.
      await (await ask(dialect, question(dialect, content, { tool }))).text()
      const whole = wholly(dialect, await (await ask(dialect, question(dialect, content, { tool }))).json() as Members)
      const stream = streamed(dialect, eventsOf(await (await ask(dialect, question(dialect, content, { stream: true, tool }))).text()))
      t.strictSame(stream, whole, `${dialect}${tool ? ' with a tool' : ''}: a stream says the same as a whole answer, ends as it does, and counts the same`)
      t.ok(tool ? whole.calls.length === 1 : whole.text.length > 3, JSON.stringify(whole))
    }
  }
}
