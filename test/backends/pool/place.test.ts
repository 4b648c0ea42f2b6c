import { test } from 'tap'
import { freeSlots, pick, place, type Candidate, type ModelView, type Placement, type PoolView } from '../../../src/backends/pool/place.ts'

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

const model = (name: string, extra: Partial<ModelView> = {}): ModelView => ({
  name, state: 'ready', workers: [worker(0)], needBytes: 40, heldBytes: 40, isPinned: false, isIdle: true, isOpen: true, usedAt: 0, ...extra
})
const absent = (extra: Partial<ModelView> = {}): ModelView => model('wanted', { state: 'unloaded', workers: [worker(0, { state: 'stopped' })], heldBytes: 0, ...extra })

const TABLE: Record<string, [PoolView['models'], number, Placement]> = {
  'loads where there is room': [[absent(), model('a')], 80, { kind: 'load', evict: [] }],
  'loads without a limit': [[absent(), model('a')], Infinity, { kind: 'load', evict: [] }],
  'unloads the idle model used longest ago': [[absent(), model('a', { usedAt: 3 }), model('b', { usedAt: 2 })], 80, { kind: 'load', evict: ['b'] }],
  'unloads as many as it needs': [[absent({ needBytes: 80 }), model('a', { usedAt: 3 }), model('b', { usedAt: 2 }), model('c', { usedAt: 1 })], 120, { kind: 'load', evict: ['c', 'b'] }],
  'unloads an idle one used just now before a busy one': [[absent(), model('a', { usedAt: 9 }), model('b', { isIdle: false })], 80, { kind: 'load', evict: ['a'] }],
  'breaks off a load that nobody waits for': [[absent(), model('a', { state: 'loading' })], 60, { kind: 'load', evict: ['a'] }],
  'waits for a busy one, which is drained': [[absent(), model('a', { isIdle: false })], 60, { kind: 'wait', drain: ['a'] }],
  'drains the one that is being drained already': [[absent(), model('a', { isIdle: false }), model('b', { isIdle: false, isOpen: false, usedAt: 9 })], 80, { kind: 'wait', drain: ['b'] }],
  'unloads nothing before the busy ones are done': [[absent({ needBytes: 80 }), model('a'), model('b', { isIdle: false })], 80, { kind: 'wait', drain: ['b'] }],
  'waits for what is on its way out, and unloads no more': [[absent(), model('a', { state: 'unloading' }), model('b')], 80, { kind: 'wait', drain: [] }],
  'never unloads a pinned one': [[absent(), model('a', { isPinned: true }), model('b', { usedAt: 9 })], 80, { kind: 'load', evict: ['b'] }],
  'refuses what is larger than all memory': [[absent({ needBytes: 100 })], 99, { kind: 'refuse', needBytes: 100, pinnedBytes: 0 }],
  'refuses what never fits beside a pinned one': [[absent(), model('a', { isPinned: true }), model('b')], 79, { kind: 'refuse', needBytes: 40, pinnedBytes: 40 }],
  'counts no memory for a pinned one that is not loaded': [[absent(), model('a', { isPinned: true, state: 'unloaded', heldBytes: 0 })], 40, { kind: 'load', evict: [] }],
  'waits while it loads': [[absent({ state: 'loading', workers: [worker(0, { state: 'starting' })], heldBytes: 40 })], 40, { kind: 'wait', drain: [] }],
  'waits while it is on its way out itself': [[absent({ state: 'unloading', workers: [worker(0, { state: 'stopping' })], heldBytes: 40 })], 40, { kind: 'wait', drain: [] }],
  'waits when all slots are taken': [[model('wanted', { workers: [worker(4)], isIdle: false })], 40, { kind: 'wait', drain: [] }],
  'waits with free slots when its turn is over': [[model('wanted', { isOpen: false })], 40, { kind: 'wait', drain: [] }]
}

for (const [what, [models, memoryBytes, placement]] of Object.entries(TABLE)) {
  test(`a call for a model ${what}`, t => {
    t.same(place({ memoryBytes, models }, { model: models[0]!, isolation: 'acme', slots: 1 }), placement)
    t.end()
  })
}

test('a call for a loaded model runs, however little memory is left', t => {
  const wanted = model('wanted')
  t.same(place({ memoryBytes: 1, models: [wanted] }, { model: wanted, isolation: 'acme', slots: 4 }), { kind: 'run', worker: wanted.workers[0] })
  t.end()
})
