import { test } from 'tap'
import { Call } from '../../../src/backends/pool/call.ts'
import type { Slot } from '../../../src/backends/pool/worker.ts'
import { GatewayError } from '../../../src/errors.ts'
import { until } from './parts.ts'

interface Counted { readonly slot: Slot, released: number }

function counted (): Counted {
  const count: Counted = { slot: { release: () => { count.released++ } } as Slot, released: 0 }
  return count
}

test('a slot that arrives after the call has ended goes back at once', t => {
  const caller = new AbortController()
  const call = new Call(caller.signal, () => {})
  caller.abort()
  const late = counted()
  t.throws(() => { call.hold(late.slot, 1000) }, { code: 'client_closed' })
  t.equal(late.released, 1)
  t.end()
})

test('however often a call ends, it gives its slot back once and says so once', t => {
  const caller = new AbortController()
  let ends = 0
  const call = new Call(caller.signal, () => { ends++ })
  const held = counted()
  call.hold(held.slot, 1000)
  call.end()
  caller.abort()
  call.abort(new GatewayError('draining', 'late'))
  call.end()
  t.strictSame([held.released, ends, call.signal.aborted], [1, 1, false])
  t.end()
})

test('the clock starts with the first slot and goes on with the second', async t => {
  const call = new Call(new AbortController().signal, () => {})
  t.equal(call.leftMs, Infinity)
  const [first, second] = [counted(), counted()]
  call.hold(first.slot, 60)
  call.free()
  call.hold(second.slot, 60_000)
  t.ok(call.leftMs <= 60)
  await until(() => call.signal.aborted, 'out of time')
  t.match(call.signal.reason, { code: 'backend_timeout', message: 'The local worker did not finish its answer within 60 ms.' })
  t.strictSame([first.released, second.released], [1, 1])
})
