import { test } from 'tap'
import * as fc from 'fast-check'
import { DATA_CLASSES, LOCALITIES, type Locality } from '../../src/config/schema.ts'
import { isWithin } from '../../src/policy/boundary.ts'
import { decide, why, type Candidate, type Facts } from '../../src/policy/decide.ts'

const candidate = (backend: string, locality: Locality, state: Candidate['state'] = 'ready'): Candidate =>
  ({ target: `${backend}/m`, label: `${backend}/m`, backend, model: 'm', locality, state })
const pool = candidate('pool', 'local')
const rack = candidate('rack', 'domain')
const cloud = candidate('cloud', 'cloud')
const facts = (over: Partial<Facts>): Facts => ({ dataClass: 'internal', boundary: 'cloud', order: 'listed', candidates: [cloud, pool, rack], ...over })
const chosen = (over: Partial<Facts>) => decide(facts(over)).targets.map(({ backend }) => backend)

test('order: as listed, nearest first, farthest first', async t => {
  t.same(chosen({}), ['cloud', 'pool', 'rack'])
  t.same(chosen({ order: 'local_first' }), ['pool', 'rack', 'cloud'])
  t.same(chosen({ order: 'cloud_first' }), ['cloud', 'rack', 'pool'])
})

test('a weak target comes after those that are well, whatever the order, and before one that loads', async t => {
  const candidates = [candidate('loads', 'local', 'loading'), candidate('weak', 'local', 'weak'), candidate('idle', 'cloud', 'idle'), cloud]
  t.same(chosen({ candidates }), ['idle', 'cloud', 'weak', 'loads'])
  t.same(chosen({ candidates, order: 'local_first' }), ['idle', 'cloud', 'weak', 'loads'])
  t.same(chosen({ candidates: candidates.slice(0, 2), order: 'local_first' }), ['weak', 'loads'], 'better than none')
})

test('order complexity: hard prompts go far first, all others near', async t => {
  const at = (score: number) => chosen({ order: 'complexity', complexity: { score, threshold: 0.5 } })
  t.same(at(0.6), ['cloud', 'rack', 'pool'])
  t.same(at(0.5), ['pool', 'rack', 'cloud'], 'at the threshold it is not above')
  t.same(at(0.4), ['pool', 'rack', 'cloud'])
  t.same(chosen({ order: 'complexity', complexity: null }), ['pool', 'rack', 'cloud'], 'without a prompt')
  t.match(why(decide(facts({ order: 'complexity', complexity: { score: 0.612, threshold: 0.5 } }))), 'order=complexity(0.61>0.5);')
  t.match(why(decide(facts({ order: 'complexity', complexity: { score: -0.1, threshold: 0.5 } }))), 'order=complexity(-0.10<=0.5);')
  t.match(why(decide(facts({ order: 'complexity' }))), 'order=complexity;')
})

test('what lies outside the boundary is never a target, in any order and any state', async t => {
  t.same(chosen({ boundary: 'domain', order: 'cloud_first' }), ['rack', 'pool'])
  t.same(chosen({ boundary: 'local', order: 'cloud_first' }), ['pool'])
  const plan = decide(facts({ boundary: 'local', candidates: [cloud, candidate('pool', 'local', 'down')] }))
  t.same(plan.targets, [])
  t.same(plan.rejected.map(({ candidate: { backend }, reason }) => [backend, reason]), [['cloud', 'data_class'], ['pool', 'unhealthy']])
})

test('health: down and full are left out with their reason, loading comes last', async t => {
  t.same(chosen({ candidates: [candidate('pool', 'local', 'loading'), cloud] }), ['cloud', 'pool'])
  t.same(chosen({ candidates: [candidate('pool', 'local', 'loading')] }), ['pool'])
  const plan = decide(facts({ candidates: [candidate('pool', 'local', 'saturated'), candidate('rack', 'domain', 'down'), cloud] }))
  t.same(plan.targets.map(({ backend }) => backend), ['cloud'])
  t.same(plan.rejected.map(({ reason }) => reason), ['no_capacity', 'unhealthy'])
})

test('one that rests for a known reason is left out with that reason', async t => {
  const rest = (whyDown: 'rate_limited' | 'key_refused') => ({ ...candidate('rack', 'domain', 'down'), whyDown })
  const plan = decide(facts({ candidates: [rest('rate_limited'), rest('key_refused'), cloud] }))
  t.same(plan.rejected.map(({ reason }) => reason), ['rate_limited', 'key_refused'])
  t.match(why(plan), /skip=rack\/m:rate_limited,rack\/m:key_refused$/)
})

test('why is one ASCII line of enums and configured names', async t => {
  t.equal(why(decide(facts({ boundary: 'domain' }))), 'class=internal;boundary=domain;order=listed;eligible=2/3;skip=cloud/m:data_class')
  t.equal(why(decide(facts({ boundary: 'local' }))), 'class=internal;boundary=local;order=listed;eligible=1/3;skip=cloud/m:data_class,rack/m:data_class')
  const many = Array.from({ length: 200 }, (_, index) => candidate(`backend-${index}`, 'cloud'))
  const line = why(decide(facts({ boundary: 'local', candidates: many })))
  t.ok(line.length <= 1010)
  t.match(line, /,\.\.\.$/)
})

const anyFacts = fc.record({
  dataClass: fc.constantFrom(...DATA_CLASSES),
  boundary: fc.constantFrom(...LOCALITIES),
  order: fc.constantFrom('listed' as const, 'local_first' as const, 'cloud_first' as const),
  candidates: fc.array(fc.tuple(fc.constantFrom(...LOCALITIES), fc.constantFrom('ready' as const, 'loading' as const, 'saturated' as const, 'down' as const)), { maxLength: 8 })
    .map(list => list.map(([locality, state], index) => candidate(`b${index}`, locality, state)))
})

test('property: every candidate is either a target or rejected, once', async () => {
  fc.assert(fc.property(anyFacts, input => {
    const plan = decide(input)
    const all = [...plan.targets, ...plan.rejected.map(({ candidate: left }) => left)].map(({ backend }) => backend).toSorted()
    return JSON.stringify(all) === JSON.stringify(input.candidates.map(({ backend }) => backend).toSorted())
  }))
})

test('property: targets lie within the boundary, and narrowing it never adds one', async () => {
  fc.assert(fc.property(anyFacts, fc.constantFrom(...LOCALITIES), (input, other) => {
    const plan = decide(input)
    if (!plan.targets.every(({ locality }) => isWithin(input.boundary, locality))) return false
    if (!isWithin(input.boundary, other)) return true
    const wide = new Set(plan.targets.map(({ backend }) => backend))
    return decide({ ...input, boundary: other }).targets.every(({ backend }) => wide.has(backend))
  }))
})

test('property: the order sorts and never drops', async () => {
  fc.assert(fc.property(anyFacts, input => {
    const sets = (['listed', 'local_first', 'cloud_first', 'complexity'] as const).map(order => decide({ ...input, order }).targets.map(({ backend }) => backend).toSorted().join())
    return new Set(sets).size === 1
  }))
})
