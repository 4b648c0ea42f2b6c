import { test } from 'tap'
import type { ChatRequest } from '../../src/wire/chat.ts'
import { ANTHROPIC_MEMBERS, BINDING, LOCAL_MEMBERS, shownMember, unknownIn } from '../../src/wire/unknown.ts'
import { readRequest } from '../../src/worker/request.ts'

const request = (more: object) => ({ model: 'm', messages: [{ role: 'user', content: 'Hi' }], ...more }) as unknown as ChatRequest

test('a worker reads nothing that is left out before it', async t => {
  const read = new Set<string>()
  const body = new Proxy({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] } as Record<string, unknown>, {
    get: (target, name) => {
      if (typeof name === 'string') read.add(name)
      return target[name as string]
    }
  })
  readRequest(body, 1000)
  t.ok(read.size > 20)
  t.same([...read].filter(name => !LOCAL_MEMBERS.has(name)), [])
})

test('what binds an answer is known to neither', async t => {
  t.same([...BINDING].filter(name => LOCAL_MEMBERS.has(name) || ANTHROPIC_MEMBERS.has(name)), [])
})

test('only what is asked for and unknown is named', async t => {
  t.equal(unknownIn(request({ temperature: 1, top_k: 5 }), LOCAL_MEMBERS), null)
  t.equal(unknownIn(request({ a: null, b: undefined, c: false }), LOCAL_MEMBERS), null)
  t.same(unknownIn(request({ a: 0, top_k: 5, b: '' }), LOCAL_MEMBERS), ['a', 'b'])
  t.same(unknownIn(request({ min_p: 0.1, top_k: 5 }), ANTHROPIC_MEMBERS), ['min_p'])
  t.equal(shownMember('guided_json'), 'guided_json')
  t.equal(shownMember('my secret plan'), '?')
})
