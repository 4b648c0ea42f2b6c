import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { Batch } from '../../src/worker/batch.ts'
import { GREEDY, type Engine, type Sampling, type StepItem, type StepResult } from '../../src/worker/engine.ts'
import type { Done, Work } from '../../src/worker/slot.ts'

const SAMPLING: Sampling = { ...GREEDY, temperature: 1, topK: 40, seed: 1 }
const END = -1

/** Answers every prompt with 1000, 1001, …; computes a step only when the test says so; checks what it is asked. */
class FakeEngine implements Engine {
  readonly slots: number
  readonly contextTokens = 400
  readonly batchTokens: number
  readonly steps: (readonly StepItem[])[] = []
  readonly held: number[][]
  readonly released: number[] = []
  /** Token to end an answer after this many. */
  answerTokens = Infinity
  canRewind = true
  needsMarks = false
  /** By slot: how many tokens it held. */
  readonly marks: (readonly [slot: number, tokens: number])[] = []
  canCopy = true
  readonly copies: (readonly [from: number, to: number, length: number])[] = []
  failing: unknown = null
  clock = 0
  msPerToken = 0
  #gate = Promise.withResolvers<void>()
  #isOpen = true

  constructor (slots: number, batchTokens = 64) {
    this.slots = slots
    this.batchTokens = batchTokens
    this.held = Array.from({ length: slots }, () => [])
  }

  hold (): void { this.#isOpen = false }

  /** Lets one step through and waits until the scheduler has asked for the next, or has nothing to do. */
  async pass (): Promise<void> {
    const gate = this.#gate
    this.#gate = Promise.withResolvers()
    gate.resolve()
    for (let i = 0; i < 6; i++) await turn()
  }

  async step (items: readonly StepItem[]): Promise<readonly StepResult[]> {
    this.steps.push(items)
    if (!this.#isOpen) await this.#gate.promise
    await turn()
    return items.map(item => {
      if (this.failing !== null) return { error: this.failing }
      const held = this.held[item.slot]!
      held.push(...item.tokens)
      this.clock += item.tokens.length * this.msPerToken
      if (item.sampling === null) return { token: null }
      const said = held.filter(token => token >= 1000).length
      return { token: said >= this.answerTokens ? END : 1000 + said }
    })
  }

  async rewind (slot: number, keep: number): Promise<number> {
    await turn()
    const reached = this.marks.filter(([marked, tokens]) => marked === slot && tokens <= keep).map(([, tokens]) => tokens)
    const goesOn = keep >= this.held[slot]!.length
    this.held[slot]!.length = goesOn ? this.held[slot]!.length : this.needsMarks ? Math.max(0, ...reached) : this.canRewind ? keep : 0
    return this.held[slot]!.length
  }

  async mark (slot: number): Promise<void> {
    await turn()
    this.marks.push([slot, this.held[slot]!.length])
  }

  async copy (from: number, to: number, length: number): Promise<number> {
    await turn()
    this.copies.push([from, to, length])
    this.held[to] = this.canCopy ? this.held[from]!.slice(0, length) : []
    return this.held[to].length
  }

  release (slot: number): void { this.released.push(slot) }
  isEnd (token: number): boolean { return token === END }
}

const prompt = (length: number, start = 0): number[] => Array.from({ length }, (_, i) => start + i)

function work (changes: Partial<Work> & { said?: number[] } = {}): Work {
  const { said, ...rest } = changes
  return { prompt: prompt(4), isolation: '', sampling: SAMPLING, maxTokens: 3, take: token => { said?.push(token); return true }, ...rest }
}

function run (batch: Batch, changes: Parameters<typeof work>[0] = {}, signal = new AbortController().signal): Promise<Done> {
  return batch.run(work(changes), { signal })
}

const tokensOf = (items: readonly StepItem[]): number => items.reduce((sum, item) => sum + item.tokens.length, 0)

test('an answer is the sampled tokens, up to the most that are wanted', async t => {
  const said: number[] = []
  const engine = new FakeEngine(1)
  t.strictSame(await run(new Batch(engine), { said }), { reason: 'length', cachedTokens: 0, generatedTokens: 3 })
  t.strictSame(said, [1000, 1001, 1002])
  t.strictSame(engine.held[0], [0, 1, 2, 3, 1000, 1001], 'the last token is not computed: nobody needs what follows it')
})

test('an answer ends at the token that ends it, which is not counted', async t => {
  const engine = new FakeEngine(1)
  engine.answerTokens = 2
  const said: number[] = []
  t.strictSame(await run(new Batch(engine), { said, maxTokens: 50 }), { reason: 'stop', cachedTokens: 0, generatedTokens: 2 })
  t.strictSame(said, [1000, 1001])
})

test('an answer ends when its taker wants no more', async t => {
  const done = await run(new Batch(new FakeEngine(1)), { maxTokens: 50, take: token => token < 1004 })
  t.strictSame(done, { reason: 'stop', cachedTokens: 0, generatedTokens: 5 })
})

test('an answer ends where the context ends', async t => {
  const engine = new FakeEngine(1)
  const done = await run(new Batch(engine), { prompt: prompt(390), maxTokens: 32_000 })
  t.strictSame(done, { reason: 'length', cachedTokens: 0, generatedTokens: 10 })
  t.ok(engine.held[0]!.length < engine.contextTokens)
})

test('an answer goes on behind tokens that its work puts in, and is sampled anew from there', async t => {
  const engine = new FakeEngine(1)
  const batch = new Batch(engine)
  const taken: number[] = []
  const take = (token: number): boolean | number[] => taken.push(token) !== 2 || [7, 8]
  const done = await run(batch, { prompt: prompt(3), maxTokens: 6, take })
  t.same(done, { reason: 'length', cachedTokens: 0, generatedTokens: 6 })
  t.same(taken.slice(0, 4), [1000, 1001, 7, 8])
  const items = engine.steps.map(([item]) => item!)
  t.same(items.map(({ tokens }) => tokens).slice(0, 3), [[0, 1, 2], [1000], [1001, 7, 8]])
  t.same(items.map(({ sampling }) => sampling?.said), [undefined, undefined, [1000, 1001, 7, 8], [1000, 1001, 7, 8]])
  t.same(engine.released, [0, 0], 'before what is put in, and at the end')
  const cut = await run(new Batch(new FakeEngine(1)), { prompt: prompt(3), maxTokens: 3, take: token => token === 1001 ? [7, 8] : true })
  t.same(cut, { reason: 'length', cachedTokens: 0, generatedTokens: 3 }, 'no more than may be said')
})

test('answers under way share every step', async t => {
  const engine = new FakeEngine(4)
  const batch = new Batch(engine)
  await Promise.all(Array.from({ length: 4 }, (_, i) => run(batch, { prompt: prompt(3, i * 100), maxTokens: 20 })))
  t.equal(engine.steps.length, 20)
  t.ok(engine.steps.every(items => items.length === 4), 'each step holds all four')
  t.strictSame(batch.stats, { steps: 20, sequences: 80, promptTokens: 12, cachedTokens: 0, generatedTokens: 80, computeMs: batch.stats.computeMs })
})

test('a long prompt is read in the room that answers leave, and never stops them', async t => {
  const engine = new FakeEngine(3, 32)
  const batch = new Batch(engine)
  const chat = run(batch, { maxTokens: 12 })
  await turn()
  const long = run(batch, { prompt: prompt(300, 100), maxTokens: 1 })
  await Promise.all([chat, long])
  const reading = engine.steps.filter(items => items.some(item => item.tokens.length > 1 && item.tokens[0]! >= 100 && item.tokens[0]! < 1000))
  t.ok(reading.length >= 10, `read in ${reading.length} pieces`)
  t.ok(engine.steps.every(items => tokensOf(items) <= 32), 'no step is larger than the batch')
  t.ok(engine.steps.slice(1, 12).every(items => items.some(item => item.tokens[0]! >= 1000 || item.tokens[0] === 0)), 'the chat has a token in each step')
  const sampled = reading.map(items => items.find(item => item.tokens[0]! >= 100 && item.tokens[0]! < 1000)!.sampling)
  t.ok(sampled.slice(0, -1).every(sampling => sampling === null) && sampled.at(-1) !== null, 'only the last piece is sampled')
})

test('pieces of prompts become as small as it takes to keep a step short', async t => {
  const engine = new FakeEngine(1, 512)
  engine.msPerToken = 0.5
  const batch = new Batch(engine, () => engine.clock)
  await run(batch, { prompt: prompt(390), maxTokens: 1 })
  const sizes = engine.steps.map(tokensOf)
  t.equal(sizes[0], 128)
  t.ok(sizes.at(-2)! < 80, `pieces of ${sizes.join(', ')} tokens at 0.5 ms each`)
  engine.msPerToken = 0.001
  for (let i = 1; i < 8; i++) await run(batch, { prompt: prompt(390, i * 1000), maxTokens: 1, isolation: String(i) })
  t.equal(tokensOf(engine.steps.at(-1)!), 390, 'and large again when the machine is fast')
})

test('waiting calls are answered in the order they came', async t => {
  const engine = new FakeEngine(1)
  const batch = new Batch(engine)
  const order: string[] = []
  await Promise.all(['a', 'b', 'c'].map((name, i) => run(batch, { prompt: prompt(3, i * 100) }).then(() => order.push(name))))
  t.strictSame(order, ['a', 'b', 'c'])
})

test('more calls than the queue holds are refused, not kept', async t => {
  const engine = new FakeEngine(2)
  engine.hold()
  const batch = new Batch(engine)
  const controller = new AbortController()
  const kept = Array.from({ length: 10 }, () => run(batch, {}, controller.signal))
  await turn()
  t.equal(batch.queued, 8)
  await t.rejects(run(batch), { code: 'backend_overloaded', status: 503 })
  controller.abort(new Error('over'))
  for (const call of kept) await t.rejects(call, { message: 'over' })
  t.equal(batch.queued, 0)
  await engine.pass()
})

test('a call that is cancelled while it waits leaves the queue at once and is never computed', async t => {
  const engine = new FakeEngine(1)
  engine.hold()
  const batch = new Batch(engine)
  const first = run(batch, { maxTokens: 1 })
  const controller = new AbortController()
  const second = run(batch, { prompt: prompt(4, 100) }, controller.signal)
  await turn()
  controller.abort(new GatewayError('client_closed', 'gone'))
  await t.rejects(second, { code: 'client_closed' })
  t.equal(batch.queued, 0)
  await engine.pass()
  await first
  t.equal(engine.steps.length, 1)
})

test('a cancelled answer frees its slot after the step under way, and the next call takes it', async t => {
  for (const [phase, tokens] of [['prompt', 300], ['generating', 4]] as const) {
    const engine = new FakeEngine(1, 32)
    engine.hold()
    const batch = new Batch(engine)
    const controller = new AbortController()
    const cancelled = run(batch, { prompt: prompt(tokens), maxTokens: 300 }, controller.signal)
    await turn()
    await engine.pass()
    await engine.pass()
    t.equal(batch.view()[0]!.phase, phase)
    const next = run(batch, { maxTokens: 1, isolation: 'next' })
    controller.abort(new Error('cancelled'))
    await t.rejects(cancelled, { message: 'cancelled' })
    const before = engine.steps.length
    await engine.pass()
    t.strictSame(engine.steps[before]?.[0]?.tokens, prompt(4), 'the step after belongs to the next call')
    await engine.pass()
    await next
    t.notOk(batch.view()[0]!.busy)
  }
})

test('what is cancelled is kept for the next prompt, exactly as far as it was computed', async t => {
  const engine = new FakeEngine(1, 32)
  const controller = new AbortController()
  const batch = new Batch(engine)
  const cancelled = run(batch, { prompt: prompt(200), maxTokens: 3, take: () => { controller.abort(new Error('x')); return true } }, controller.signal)
  await t.rejects(cancelled, { message: 'x' })
  t.equal((await run(batch, { prompt: prompt(200), maxTokens: 1 })).cachedTokens, 199)
})

test('a prompt that continues an answer computes only what is new', async t => {
  const engine = new FakeEngine(2)
  const batch = new Batch(engine)
  await run(batch, { prompt: prompt(50), maxTokens: 5 })
  const done = await run(batch, { prompt: [...prompt(50), 1000, 1001, 1002, 1003, 7, 8, 9], maxTokens: 1 })
  t.equal(done.cachedTokens, 54)
  t.strictSame(engine.steps.at(-1)![0]!.tokens, [7, 8, 9])
})

test('the same prompt of another isolation domain is computed anew, and its slot forgets the first', async t => {
  const engine = new FakeEngine(1)
  const batch = new Batch(engine)
  await run(batch, { prompt: prompt(50), isolation: 'acme' })
  t.equal((await run(batch, { prompt: prompt(50), isolation: 'umbrella' })).cachedTokens, 0)
  t.equal((await run(batch, { prompt: prompt(50), isolation: 'acme' })).cachedTokens, 0)
  t.equal((await run(batch, { prompt: prompt(50), isolation: 'acme' })).cachedTokens, 49)
})

test('a model that cannot go back computes the whole prompt and says so', async t => {
  const engine = new FakeEngine(1)
  engine.canRewind = false
  const batch = new Batch(engine)
  await run(batch, { prompt: prompt(50) })
  t.equal((await run(batch, { prompt: prompt(50) })).cachedTokens, 0)
  t.strictSame(engine.held[0]!.slice(0, 50), prompt(50))
})

test('a failed computation fails its call, and what the slot held is not trusted again', async t => {
  const engine = new FakeEngine(1)
  const batch = new Batch(engine)
  await run(batch, { prompt: prompt(50) })
  engine.failing = new Error('Eval has failed')
  await t.rejects(run(batch, { prompt: prompt(50) }), { code: 'backend_failed', cause: { message: 'Eval has failed' } })
  engine.failing = null
  t.equal((await run(batch, { prompt: prompt(50) })).cachedTokens, 0)
})

test('a taker that throws fails its own call alone', async t => {
  const batch = new Batch(new FakeEngine(2))
  const good = run(batch, { maxTokens: 5 })
  await t.rejects(run(batch, { prompt: prompt(3, 100), take: () => { throw new Error('reader is gone') } }), { message: 'reader is gone' })
  t.equal((await good).generatedTokens, 5)
})

test('a slot shows what it is doing', async t => {
  const engine = new FakeEngine(1, 32)
  engine.hold()
  const batch = new Batch(engine)
  const call = run(batch, { prompt: prompt(40), maxTokens: 2 })
  await turn()
  t.strictSame(batch.view(), [{ id: 0, busy: true, phase: 'prompt', promptTokens: 40, generatedTokens: 0, cachedTokens: 0 }])
  await engine.pass()
  await engine.pass()
  t.strictSame(batch.view(), [{ id: 0, busy: true, phase: 'generating', promptTokens: 40, generatedTokens: 1, cachedTokens: 0 }])
  await engine.pass()
  await call
  t.strictSame(batch.view(), [{ id: 0, busy: false, phase: 'idle', promptTokens: 0, generatedTokens: 0, cachedTokens: 41 }])
})

test('prompts are read one after the other: a short one does not wait for a long one, nor a long one for ever', async t => {
  const engine = new FakeEngine(4, 32)
  const batch = new Batch(engine)
  const order: string[] = []
  const read = async (name: string, length: number, start: number): Promise<void> => {
    await run(batch, { prompt: prompt(length, start), maxTokens: 1 })
    order.push(name)
  }
  await Promise.all([read('long', 300, 0), read('longer', 350, 400), read('short', 20, 800)])
  t.equal(order[0], 'short')
  t.ok(engine.steps.every(items => items.length <= 2), 'whole steps go to one prompt')
  const turns = engine.steps.slice(0, 8).map(items => Math.floor(items[0]!.tokens[0]! / 400))
  t.ok(turns.includes(0) && engine.steps.length <= 24, `read in turns: ${turns.join(' ')}`)

  const endless = ['first', ...Array.from({ length: 12 }, (_, i) => `chat ${i}`)]
  order.length = 0
  await Promise.all(endless.map((name, i) => read(name, i === 0 ? 390 : 60, i * 400)))
  t.ok(order.indexOf('first') < endless.length - 1, 'short ones that keep coming do not starve it')
})

/** Several answers to one prompt, of which each takes its tokens into `said`. */
function several (batch: Batch, said: number[][], changes: Partial<Work> = {}, signal = new AbortController().signal): Promise<Done[]> {
  return batch.runAll(said.map(one => work({ ...changes, said: one })), { signal })
}

test('several answers to one prompt read it once, and begin together', async t => {
  const engine = new FakeEngine(4, 32)
  const batch = new Batch(engine)
  const said: number[][] = [[], [], []]
  const done = await several(batch, said, { prompt: prompt(100) })
  t.strictSame(said, [[1000, 1001, 1002], [1000, 1001, 1002], [1000, 1001, 1002]])
  t.strictSame(engine.copies.map(([, , length]) => length), [99, 99])
  t.equal(engine.steps.flatMap(items => items).reduce((sum, { tokens }) => sum + tokens.filter(token => token < 1000).length, 0), 102, 'but for the last token of each')
  t.strictSame(done.map(({ generatedTokens }) => generatedTokens), [3, 3, 3])
  t.strictSame(done.map(({ cachedTokens }) => cachedTokens), [0, 99, 99])
  t.ok(engine.steps.slice(-3).every(items => items.length === 3), 'they share their steps')
  t.ok(batch.view().every(({ busy }) => !busy))
})

test('where nothing can be copied, each answer reads the prompt by itself', async t => {
  const engine = new FakeEngine(2)
  engine.canCopy = false
  const said: number[][] = [[], []]
  const done = await several(new Batch(engine), said, { prompt: prompt(50) })
  t.strictSame(said, [[1000, 1001, 1002], [1000, 1001, 1002]])
  t.strictSame(done.map(({ cachedTokens }) => cachedTokens), [0, 0])
  t.strictSame(engine.held.map(held => held.slice(0, 50)), [prompt(50), prompt(50)])
})

test('a prompt of one token, and one that is cached, have several answers too', async t => {
  const engine = new FakeEngine(2)
  const batch = new Batch(engine)
  for (let again = 0; again < 2; again++) {
    for (const length of [1, 50]) {
      const said: number[][] = [[], []]
      await several(batch, said, { prompt: prompt(length) })
      t.strictSame(said, [[1000, 1001, 1002], [1000, 1001, 1002]])
    }
  }
})

test('copies belong to the same domain, and the next prompt finds them', async t => {
  const engine = new FakeEngine(2)
  const batch = new Batch(engine)
  await several(batch, [[], []], { prompt: prompt(50), isolation: 'acme' })
  t.equal((await run(batch, { prompt: prompt(50), isolation: 'umbrella' })).cachedTokens, 0)
  t.equal((await run(batch, { prompt: prompt(50), isolation: 'acme' })).cachedTokens, 49)
})

test('more answers than slots are refused, and a call that wants several is not overtaken', async t => {
  const engine = new FakeEngine(2)
  engine.hold()
  const batch = new Batch(engine)
  await t.rejects(several(batch, [[], [], []]), { code: 'unsupported_value', param: 'n', message: /at most 2/ })
  const order: string[] = []
  const first = run(batch, { maxTokens: 2 }).then(() => order.push('first'))
  await turn()
  const both = several(batch, [[], []], { prompt: prompt(4, 100), maxTokens: 1 }).then(() => order.push('both'))
  const last = run(batch, { prompt: prompt(4, 200), maxTokens: 1 }).then(() => order.push('last'))
  for (let i = 0; i < 8; i++) await engine.pass()
  await Promise.all([first, both, last])
  t.strictSame(order, ['first', 'both', 'last'])
})

test('several answers that are cancelled leave every slot free, in whatever phase', async t => {
  for (const passes of [0, 1, 3, 6, 9]) {
    const engine = new FakeEngine(3, 32)
    engine.hold()
    const batch = new Batch(engine)
    const controller = new AbortController()
    const cancelled = several(batch, [[], [], []], { prompt: prompt(200), maxTokens: 300 }, controller.signal)
    await turn()
    for (let i = 0; i < passes; i++) await engine.pass()
    controller.abort(new Error('cancelled'))
    await t.rejects(cancelled, { message: 'cancelled' })
    await engine.pass()
    await engine.pass()
    t.ok(batch.view().every(({ busy }) => !busy), `after ${passes} steps`)
    t.ok(engine.steps.length <= passes + 1, 'nothing more is computed')
    const next = several(batch, [[], [], []], { prompt: prompt(4, 300), maxTokens: 1 })
    for (let i = 0; i < 4; i++) await engine.pass()
    t.equal((await next).length, 3, 'and they answer again')
  }
})

test('when one of several answers fails, all fail and every slot is free', async t => {
  const engine = new FakeEngine(2)
  const batch = new Batch(engine)
  const throwing = work({ maxTokens: 300, take: () => { throw new Error('reader is gone') } })
  await t.rejects(batch.runAll([work({ maxTokens: 300 }), throwing], { signal: new AbortController().signal }), { message: 'reader is gone' })
  engine.failing = new Error('Eval has failed')
  await t.rejects(several(batch, [[], []], { prompt: prompt(30, 500) }), { code: 'backend_failed' })
  engine.failing = null
  t.equal((await several(batch, [[], []])).length, 2)
  t.ok(batch.view().every(({ busy }) => !busy))
})

test('each answer hears of its own end', async t => {
  const ends: string[] = []
  const engine = new FakeEngine(2)
  const works = [2, 5].map(maxTokens => work({ maxTokens, end: ({ generatedTokens }) => { ends.push(`${generatedTokens}`) } }))
  await new Batch(engine).runAll(works, { signal: new AbortController().signal })
  t.strictSame(ends, ['2', '5'])
})

test('a network that cannot go back is marked where prompts part, and before the last token of each', async t => {
  const engine = new FakeEngine(1)
  engine.needsMarks = true
  const batch = new Batch(engine)
  const [system, other] = [prompt(100), prompt(100, 400)]
  const ask = (from: readonly number[], end: number) => run(batch, { prompt: [...from, ...prompt(5, end)], maxTokens: 1 })
  t.equal((await ask(system, 500)).cachedTokens, 0)
  t.strictSame(engine.marks.map(([, tokens]) => tokens), [104], 'nobody knows yet what will be shared')
  t.equal((await ask(system, 600)).cachedTokens, 0)
  t.strictSame(engine.marks.map(([, tokens]) => tokens), [104, 100, 104])
  t.equal((await ask(system, 700)).cachedTokens, 100)
  t.equal((await ask(system, 700)).cachedTokens, 104, 'the same prompt again begins at its last token')
  t.equal((await ask(other, 700)).cachedTokens, 0)
})

test('a network that can go back is never marked', async t => {
  const engine = new FakeEngine(1)
  const batch = new Batch(engine)
  for (const end of [200, 300]) await run(batch, { prompt: [...prompt(100), ...prompt(5, end)] })
  t.strictSame(engine.marks, [])
})
