import { test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { FallbackState } from '../../src/state/fallback.ts'
import { MemoryState } from '../../src/state/memory.ts'
import type { SharedState, Take } from '../../src/state/state.ts'

const away = () => new GatewayError('state_unavailable', 'away')
const bucket = { key: 'b', capacity: 10, refillPerS: 1, cost: 1 }

/** A primary whose answers the test gives by hand, on a clock that stands still until it is moved. */
function rig (onLoss: 'local' | 'refuse' = 'local') {
  const clock = { ms: 0 }
  const asked: PromiseWithResolvers<Take>[] = []
  const closed: string[] = []
  const primary: SharedState = {
    take: () => {
      const answer = Promise.withResolvers<Take>()
      asked.push(answer)
      return answer.promise
    },
    close: async () => { closed.push('primary') }
  }
  const local = new MemoryState({ now: () => clock.ms })
  const state = new FallbackState(primary, local, { onLoss, now: () => clock.ms })
  const take = () => state.take([bucket], [])
  return { clock, asked, closed, local, state, take }
}

test('after a failure one call a second asks again, and the others do not wait for it', async t => {
  const { clock, asked, local, state, take } = rig()
  const first = take()
  asked[0]!.reject(away())
  t.match(await first, { granted: true, home: local })
  t.equal(state.degraded, true)
  for (let i = 0; i < 5; i++) t.match(await take(), { home: local })
  t.equal(asked.length, 1)

  clock.ms += 1_000
  const scout = take()
  t.equal(asked.length, 2)
  for (let i = 0; i < 2; i++) t.match(await take(), { home: local }, 'while the scout waits')
  t.equal(asked.length, 2)
  asked[1]!.reject(away())
  t.match(await scout, { home: local })

  clock.ms += 999
  await take()
  t.equal(asked.length, 2)
  clock.ms += 1
  const home = { give: async () => {}, renew: async () => {} }
  const back = take()
  asked[2]!.resolve({ granted: true, remaining: [9], home })
  t.match(await back, { granted: true, remaining: [9] })
  t.equal(state.degraded, false)
  take().catch(() => {})
  take().catch(() => {})
  t.equal(asked.length, 5, 'everybody asks again')
})

test('refuse: nobody is counted here, and nobody waits', async t => {
  const { asked, take, local } = rig('refuse')
  const first = take()
  asked[0]!.reject(away())
  await t.rejects(first, { code: 'state_unavailable' })
  await t.rejects(take(), { code: 'state_unavailable', retryAfterS: 1 })
  t.equal(asked.length, 1)
  t.equal(local.size, 0)
})

test('a refusal by a limit is an answer, not a loss', async t => {
  const { asked, state, take } = rig()
  const short = take()
  asked[0]!.resolve({ granted: false, key: 'b', retryAfterS: 1, remaining: [0] })
  t.match(await short, { granted: false })
  t.equal(state.degraded, false)
})

test('a mistake of ours is no reason to count here', async t => {
  const { asked, state, take } = rig()
  const broken = take()
  asked[0]!.reject(new TypeError('x'))
  await t.rejects(broken, TypeError)
  t.equal(state.degraded, false)
})

test('closes what it was given', async t => {
  const { state, closed } = rig()
  await state.close()
  t.same(closed, ['primary'])
})
