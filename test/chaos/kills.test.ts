/** A short one; `npm run chaos` is the long one. */
import { test } from 'tap'
import { seeded } from '../seeded.ts'
import { kill, startKills } from './kills.ts'

test('workers are killed, aborted and stopped under load: every stream is whole or ends with an error', { timeout: 120_000 }, async t => {
  const tally = await kill(await startKills(t), 5, seeded(20261122))
  t.comment(JSON.stringify(tally))
  t.same(tally.lost, [])
  t.same(tally.fallen, [])
  t.ok(tally.counters > 50, `${tally.counters} series were watched`)
  for (const [signal, { whole, broken, stopped, wrong }] of Object.entries(tally.endings)) {
    t.same({ stopped, wrong }, { stopped: 0, wrong: 0 }, signal)
    t.ok(whole >= broken, `${signal}: ${whole} whole, ${broken} broken off`)
  }
  t.equal(tally.hung, tally.signals.SIGSTOP, 'each worker that was stopped was found out')
})
