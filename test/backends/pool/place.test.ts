import { test } from 'tap'
import { freeSlots, pick, type Candidate } from '../../../src/backends/pool/place.ts'

const worker = (busySlots: number, extra: Partial<Candidate> = {}): Candidate =>
  ({ state: 'ready', slots: 4, busySlots, served: new Map(), ...extra })

test('the worker with the most free slots gets the call', t => {
  const workers = [worker(2), worker(1), worker(3)]
  t.equal(pick(workers, 'acme'), workers[1])
  t.end()
})

test('among equals, the worker that served this domain last', t => {
  const workers = [worker(1, { served: new Map([['acme', 3]]) }), worker(1, { served: new Map([['acme', 7], ['other', 9]]) }), worker(1)]
  t.equal(pick(workers, 'acme'), workers[1])
  t.equal(pick(workers, 'nobody'), workers[0], 'else the first')
  t.end()
})

test('a cache is no reason to crowd a worker', t => {
  const workers = [worker(2, { served: new Map([['acme', 3]]) }), worker(1)]
  t.equal(pick(workers, 'acme'), workers[1])
  t.end()
})

test('a worker that is not ready, or full, gets nothing', t => {
  const idle = (['starting', 'backoff', 'quarantined', 'stopping', 'stopped'] as const).map(state => worker(0, { state }))
  t.equal(pick([...idle, worker(4)], 'acme'), null)
  t.equal(pick([], 'acme'), null)
  t.equal(freeSlots(worker(5)), 0, 'never less than none')
  t.end()
})

test('a call that wants several slots gets them of one worker, or none', t => {
  const workers = [worker(2), worker(1), worker(3)]
  t.equal(pick(workers, 'acme', 3), workers[1])
  t.equal(pick(workers, 'acme', 4), null)
  t.end()
})
