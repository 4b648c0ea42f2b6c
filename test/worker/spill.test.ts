/** States of slots on disk, of real workers with the built-in model and with networks that cannot go back. */
import { once } from 'node:events'
import { readdirSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import tap, { test, type Test } from 'tap'
import { Spill, type StateFiles } from '../../src/worker/spill.ts'
import { workerOnPort } from './spawned.ts'
import { writeGemma, writeMamba } from './tiny.ts'

interface Answer { readonly choices: readonly { readonly text: string, readonly logprobs: unknown }[], readonly usage: { readonly prompt_tokens_details: { readonly cached_tokens: number } } }

const folder = tap.testdir()
const place = (name: string): string => join(folder, name)
const MUCH = 1_000_000_000
const open = (t: Test, spill: string, { bytes = MUCH, more = [] as string[] } = {}) =>
  workerOnPort(t, '--slots', '1', '--context-tokens', '1024', ...spill === '' ? [] : ['--spill-folder', place(spill), '--spill-bytes', String(bytes)], ...more)

const tokens = (seed: number, length: number, most = 250): number[] => Array.from({ length }, (_, at) => 3 + (seed * 7919 + at * 104_729 + at * at * 31) % most)
const [FIRST, OTHER] = [tokens(1, 600), tokens(2, 600)]

async function ask (url: string, prompt: readonly number[], isolation = 'a', most = 8): Promise<{ said: unknown, cached: number }> {
  const body = JSON.stringify({ model: 'm', prompt, max_tokens: most, temperature: 0, logprobs: 3 })
  const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json', 'x-torchgate-isolation': isolation }, body })
  if (response.status !== 200) throw new Error(await response.text())
  const { choices: [choice], usage } = await response.json() as Answer
  return { said: choice, cached: usage.prompt_tokens_details.cached_tokens }
}

const files = (name: string): string[] => readdirSync(place(name), { recursive: true, withFileTypes: true }).filter(each => each.isFile()).map(({ parentPath, name: file }) => join(parentPath, file))

const states = (name: string): string[] => files(name).filter(file => file.endsWith('.state'))

test('a prompt whose slot was taken, or whose worker ended, is not read again, and the answer is the same to the last bit', async t => {
  const first = await open(t, 'a')
  t.equal((await ask(first.url, FIRST)).cached, 0)
  const kept = await ask(first.url, [...FIRST, 7])
  t.equal(kept.cached, 600, 'the slot was not taken yet')
  t.equal((await ask(first.url, OTHER)).cached, 0)
  const restored = await ask(first.url, [...FIRST, 7])
  t.strictSame(restored, kept)
  t.equal((await ask(first.url, FIRST, 'b')).cached, 0, 'no other domain profits')
  t.ok((await ask(first.url, OTHER)).cached >= 599)
  t.strictSame(files('a').map(file => statSync(file).mode & 0o777), files('a').map(() => 0o600))
  t.equal(statSync(place('a')).mode & 0o077, 0, 'nobody else may look in')
  first.child.kill('SIGTERM')
  await once(first.child, 'exit')

  const second = await open(t, 'a')
  t.strictSame(await ask(second.url, [...FIRST, 7]), kept)
  t.equal((await ask(second.url, OTHER, 'b')).cached, 0)
  second.child.kill('SIGKILL')
  await once(second.child, 'exit')
  const [cut, ...busy] = states('a')
  truncateSync(cut!, 20_000)
  for (const file of busy) writeFileSync(`${file}.busy`, '')

  const third = await open(t, 'a')
  t.equal((await ask(third.url, [...FIRST, 7])).cached, 0, 'what is damaged, or ended a worker, is not read')
  t.equal((await ask(third.url, OTHER)).cached, 0)
  t.equal(states('a').length, 1)
})

test('files take no more bytes than they may, and the one used longest ago goes first', async t => {
  const probe = statSync(states('a')[0]!).size
  const { url } = await open(t, 'bounded', { bytes: Math.round(probe * 2.5) })
  for (const seed of [1, 2, 3, 4]) await ask(url, tokens(seed, 600))
  t.equal(states('bounded').length, 2)
  t.ok((await ask(url, tokens(3, 600))).cached >= 599)
  t.equal((await ask(url, tokens(1, 600))).cached, 0)
})

for (const [what, write] of [['gemma', writeGemma], ['mamba', writeMamba]] as const) {
  test(`a ${what}, which cannot go back, only goes on from its state`, async t => {
    write(place(`${what}.gguf`))
    const { url } = await open(t, what, { more: ['--model', place(`${what}.gguf`)] })
    await ask(url, FIRST)
    await ask(url, OTHER)
    t.equal((await ask(url, [...FIRST, 7], 'a', 1)).cached, 0, 'the state is of the answer, too')
    await ask(url, OTHER)
    t.equal((await ask(url, [...FIRST, 7, 8])).cached, 601, 'of this one it is of the prompt: the last token of an answer is not computed')
  })
}

/** What `save` writes is not read here. */
const NO_FILES: StateFiles = { needsMarks: false, save: async () => 0, load: async () => [] }

test('files that another worker of the same model removes meanwhile are none', async t => {
  const options = { folder: place('shared'), bytes: MUCH, model: 'm', kind: 'k', log: () => undefined }
  const spill = new Spill(NO_FILES, options)
  const [model] = readdirSync(place('shared'))
  const [kind] = readdirSync(join(place('shared'), model!))
  const inside = join(place('shared'), model!, kind!)
  symlinkSync(join(inside, 'gone'), join(inside, 'a-1.state'))
  t.equal(new Spill(NO_FILES, options).bytes, 0)
  t.same(readdirSync(inside), [])
  writeFileSync(join(inside, 'a-1.state.bytes'), '1')
  writeFileSync(join(inside, 'a-1.state.busy'), '')
  t.equal(new Spill(NO_FILES, options).bytes, 0)
  t.same(readdirSync(inside), [], 'nor is anything left of one')
  t.equal(spill.bytes, 0)
})

test('a disk that takes no more costs what was to be kept, not what is there already', async t => {
  let isFull = false
  const lines: string[] = []
  const save: StateFiles['save'] = async (_slot, path) => {
    if (isFull) throw new Error('No space left.')
    writeFileSync(path, 'state')
    return 5
  }
  const spill = new Spill({ ...NO_FILES, save }, { folder: place('full'), bytes: MUCH, model: 'm', kind: 'k', log: line => { lines.push(line) } })
  await spill.put({ id: 0, tokens: FIRST.slice(0, 300), isolation: 'a' }, 0)
  isFull = true
  await spill.put({ id: 0, tokens: FIRST, isolation: 'a' }, 0)
  t.match(lines, [/No space left/])
  t.equal(spill.bytes, 5)
})
