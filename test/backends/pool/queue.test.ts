import { strictEqual as same } from 'node:assert'
import { array, assert, constantFrom, nat, property, tuple } from 'fast-check'
import { test } from 'tap'
import { FairQueue } from '../../../src/backends/pool/queue.ts'

const drain = (queue: FairQueue<string>): string[] => Array.from({ length: queue.size }, () => queue.shift() ?? 'nothing')

test('a domain keeps its own order', t => {
  const queue = new FairQueue<string>()
  for (const item of ['a1', 'a2', 'a3']) queue.push('a', item)
  t.strictSame(drain(queue), ['a1', 'a2', 'a3'])
  t.equal(queue.shift(), undefined)
  t.end()
})

test('domains take turns, however many calls one of them has waiting', t => {
  const queue = new FairQueue<string>()
  for (const item of ['a1', 'a2', 'a3', 'a4']) queue.push('a', item)
  for (const item of ['b1', 'b2']) queue.push('b', item)
  queue.push('c', 'c1')
  t.strictSame(drain(queue), ['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4'])
  t.end()
})

test('a call that comes back goes ahead of every domain', t => {
  const queue = new FairQueue<string>()
  queue.push('a', 'a1')
  queue.pushAhead('first')
  queue.pushAhead('second')
  t.equal(queue.peek(), 'first')
  t.strictSame(drain(queue), ['first', 'second', 'a1'])
  t.end()
})

test('a call can leave from anywhere, once, and its domain loses no other turn', t => {
  const queue = new FairQueue<string>()
  const a1 = queue.push('a', 'a1')
  queue.push('b', 'b1')
  const ahead = queue.pushAhead('ahead')
  queue.push('a', 'a2')
  t.strictSame([a1.leave(), a1.leave(), ahead.leave(), ahead.leave()], [true, false, true, false])
  t.equal(queue.size, 2)
  t.strictSame(drain(queue), ['a2', 'b1'])
  t.end()
})

test('a call that has been handed out can no longer leave', t => {
  const queue = new FairQueue<string>()
  const place = queue.push('a', 'a1')
  queue.shift()
  queue.push('a', 'a2')
  t.equal(place.leave(), false)
  t.strictSame(drain(queue), ['a2'])
  t.end()
})

/** The same promise, kept without a thought for speed. */
class NaiveQueue {
  ahead: number[] = []
  lanes: { domain: string, items: number[] }[] = []

  push (domain: string, item: number): void {
    const lane = this.lanes.find(each => each.domain === domain)
    if (lane === undefined) this.lanes.push({ domain, items: [item] })
    else lane.items.push(item)
  }

  shift (): number | undefined {
    if (this.ahead.length > 0) return this.ahead.shift()
    const turn = this.lanes.shift()
    if (turn === undefined) return undefined
    const item = turn.items.shift()
    if (turn.items.length > 0) this.lanes.push(turn)
    return item
  }

  leave (item: number): boolean {
    const list = [this.ahead, ...this.lanes.map(({ items }) => items)].find(items => items.includes(item))
    list?.splice(list.indexOf(item), 1)
    this.lanes = this.lanes.filter(({ items }) => items.length > 0)
    return list !== undefined
  }

  get size (): number { return this.ahead.length + this.lanes.reduce((sum, { items }) => sum + items.length, 0) }
}

test('behaves as a list of lists does, whatever happens in whatever order', t => {
  const step = tuple(constantFrom('a', 'b', 'c', 'ahead', 'shift', 'leave'), nat(40))
  assert(property(array(step, { maxLength: 80, size: 'max' }), steps => {
    const [queue, naive] = [new FairQueue<number>(), new NaiveQueue()]
    const places = new Map<number, { leave (): boolean }>()
    for (const [id, [kind, pick]] of steps.entries()) {
      if (kind === 'shift') same(queue.shift(), naive.shift())
      else if (kind === 'leave') same(places.get(pick)?.leave() ?? false, naive.leave(pick))
      else if (kind === 'ahead') {
        places.set(id, queue.pushAhead(id))
        naive.ahead.push(id)
      } else {
        places.set(id, queue.push(kind, id))
        naive.push(kind, id)
      }
      same(queue.size, naive.size)
    }
  }), { numRuns: 300 })
  t.end()
})

test('a long queue drains in linear time', t => {
  const queue = new FairQueue<number>()
  for (let at = 0; at < 100_000; at++) queue.push('a', at)
  const start = performance.now()
  while (queue.shift() !== undefined) { /* drain */ }
  t.ok(performance.now() - start < 1000, 'under a second, where a list that moves its rest takes many')
  t.end()
})

test('a domain of weight three has three calls in its turn, another one one', t => {
  const queue = new FairQueue<string>(domain => domain === 'heavy' ? 3 : 1)
  for (let at = 0; at < 6; at++) for (const domain of ['heavy', 'light']) queue.push(domain, domain[0]!)
  const all = queue.inOrder(100).join('')
  t.equal(queue.inOrder(4).join(''), all.slice(0, 4))
  let given = ''
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) given += next
  t.equal(given, 'hhhlhhhlllll')
  t.equal(all, given, 'and the order is told before')
  t.end()
})

test('what stands behind has its turn when nothing else waits', t => {
  const queue = new FairQueue<string>()
  for (const item of ['b1', 'b2']) queue.pushBehind('noisy', item)
  queue.pushBehind('calm', 'c1')
  t.equal(queue.shift(), 'b1')
  queue.push('noisy', 'first')
  queue.pushAhead('again')
  t.match(queue, { size: 4, sizeInFront: 2 })
  t.same(queue.inOrder(3), ['again', 'first', 'c1'])
  t.same(queue.inOrder(100), ['again', 'first', 'c1', 'b2'])
  const left = queue.pushBehind('calm', 'gone')
  t.equal(left.leave(), true)
  t.equal(left.leave(), false)
  const given = Array.from({ length: 5 }, () => queue.shift())
  t.same(given, ['again', 'first', 'c1', 'b2', undefined])
  t.match(queue, { size: 0, sizeInFront: 0 })
  t.end()
})
