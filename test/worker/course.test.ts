/** A stream of /v1/completions that was cut anywhere goes on as it would have gone on. */
import { test } from 'tap'
import { events, workerOnPort } from './spawned.ts'

interface Event {
  readonly id: string
  readonly choices?: readonly { readonly index: number, readonly text: string }[]
  readonly usage?: { readonly completion_tokens: number } | null
  readonly torchgate?: { readonly stream?: object, readonly choices?: readonly { readonly index: number, readonly said: string, readonly isOver?: boolean }[] }
}

const hasEnd = ({ torchgate }: Event) => torchgate?.choices?.some(({ isOver }) => isOver === true) === true

/** What a pool knows that has read these events. */
function known (all: readonly Event[], choices: number): { stream: object, choices: { said: string, isOver: boolean }[] } {
  const marks = all.flatMap(({ torchgate }) => torchgate?.choices ?? [])
  const of = (index: number) => marks.filter(mark => mark.index === index)
  return {
    stream: all.find(({ torchgate }) => torchgate?.stream !== undefined)!.torchgate!.stream!,
    choices: Array.from({ length: choices }, (_, index) => ({
      said: of(index).map(({ said }) => said).filter(said => said !== '').join(), isOver: of(index).some(({ isOver }) => isOver === true)
    }))
  }
}

test('a raw prompt that was continued in part is continued on from every mark', { timeout: 60_000 }, async t => {
  const { url } = await workerOnPort(t, '--context-tokens', '512')
  const ask = async (body: object, marks: string): Promise<{ status: number, chunks: Event[], text: string }> => {
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'x-torchgate-marks': marks }, body: JSON.stringify(body) })
    const text = response.status === 200 ? '' : await response.text()
    return { status: response.status, chunks: text === '' ? (await events(response)).filter(event => event !== '[DONE]') as Event[] : [], text }
  }
  const base = { model: 'pilot', prompt: 'Count from 1 to 20\n', max_tokens: 24, temperature: 0, stream: true, stream_options: { include_usage: true } }
  for (const more of [{}, { echo: true }, { n: 2, temperature: 1.2, seed: 4, presence_penalty: 0.4 }, { max_tokens: 5 }]) {
    const request = { ...base, ...more }
    const choices = 'n' in more ? 2 : 1
    const { chunks: whole } = await ask(request, 'begin')
    const texts = (chunks: readonly Event[]) => Array.from({ length: choices }, (_, index) => chunks.flatMap(({ choices: all = [] }) => all).filter(choice => choice.index === index).map(({ text }) => text).join(''))
    const cuts = [...whole.keys()].filter(at => whole[at]!.torchgate?.choices !== undefined && !hasEnd(whole[at]!))
    t.ok(cuts.length > 2)
    for (const at of cuts.filter((_, i) => i % 9 === 0 || i === cuts.length - 1)) {
      const before = whole.slice(0, at + 1)
      const { chunks: after } = await ask({ request, ...known(before, choices) }, 'continue')
      t.same(texts([...before, ...after]), texts(whole), `${JSON.stringify(more)}: cut at ${at}`)
      t.same(after.at(-1)!.usage?.completion_tokens, whole.at(-1)!.usage?.completion_tokens)
      t.equal(after.find(({ choices: said }) => said !== undefined)!.id, whole[1]!.id)
    }
  }
  const stream = known((await ask(base, 'begin')).chunks, 1)
  for (const request of [{ ...base, logprobs: 1 }, { ...base, prompt: ['a', 'b'] }, { ...base, n: 2 }]) {
    t.match(await ask({ request, ...stream }, 'continue'), { status: 400, text: /cannot go on from here/ })
    t.notMatch(JSON.stringify((await ask({ ...request, n: 1 }, 'begin')).chunks), 'n' in request ? /nothing/ : /torchgate/, 'and is not marked')
  }
})
