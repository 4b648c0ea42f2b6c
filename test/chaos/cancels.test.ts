/** A short one; `npm run chaos` is the long one. */
import { test } from 'tap'
import { seeded } from '../seeded.ts'
import { cancel, freeing, PHASES, startCancels } from './cancels.ts'

test('callers that leave in a load, in the queue, in the prompt and in the answer leave every place free', { timeout: 120_000 }, async t => {
  const running = await startCancels(t)
  const tally = await cancel(running, 48, seeded(7))
  t.comment(JSON.stringify(tally))
  t.same(tally.lost, [])
  t.same(tally.fallen, [])
  t.equal(tally.wrong, 0)
  t.same(PHASES.filter(phase => tally.left[phase] === 0), [], 'in every phase some left')
  const found = await freeing(running, 3)
  for (const phase of PHASES) {
    const [soonest] = found[phase].toSorted((a, b) => a - b)
    t.ok(soonest! < 50, `${phase}: ${found[phase].map(ms => ms.toFixed(1)).join(', ')} ms`)
  }
})
