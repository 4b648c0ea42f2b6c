import { test } from 'tap'
import { Attempts, type Running } from '../../src/backends/attempts.ts'
import { GatewayError } from '../../src/errors.ts'

const REASON = new GatewayError('draining', 'The test ends it.')

/** Tells when it was cut off, and is over then. */
function attempt (among: Attempts, cut: Running[] = []): Running {
  const running: Running = { place: -1, abort: () => { cut.push(running); among.delete(running) } }
  among.add(running)
  return running
}

test('attempts end in any order, and each is counted until it has', async t => {
  const attempts = new Attempts()
  const [first, second, third, fourth] = [attempt(attempts), attempt(attempts), attempt(attempts), attempt(attempts)]
  for (const [running, left] of [[second, 3], [fourth, 2], [first, 1], [third, 0]] as const) {
    attempts.delete(running)
    t.equal(attempts.size, left)
  }
})

test('an attempt that ends twice takes no other with it', async t => {
  const attempts = new Attempts()
  const [first, , last] = [attempt(attempts), attempt(attempts), attempt(attempts)]
  for (const [running, left] of [[first, 2], [first, 2], [last, 1], [last, 1]] as const) {
    attempts.delete(running)
    t.equal(attempts.size, left)
  }
})

test('what has moved into the place of another can still end', async t => {
  const attempts = new Attempts()
  const cut: Running[] = []
  const [first, second, third] = [attempt(attempts, cut), attempt(attempts, cut), attempt(attempts, cut)]
  attempts.delete(first)
  attempts.delete(third)
  await attempts.drain(REASON, AbortSignal.abort())
  t.same(cut, [second])
  t.equal(attempts.size, 0)
})

test('a drain waits for the last one, and cuts off what is left when it may wait no longer', async t => {
  const attempts = new Attempts()
  const cut: Running[] = []
  const [first, second] = [attempt(attempts, cut), attempt(attempts, cut)]
  const patience = new AbortController()
  let isOver = false
  const drained = attempts.drain(REASON, patience.signal).finally(() => { isOver = true })
  attempts.delete(first)
  await new Promise(setImmediate)
  t.notOk(isOver)
  patience.abort()
  await drained
  t.same(cut, [second])
})
