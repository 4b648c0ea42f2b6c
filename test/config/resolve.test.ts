import { test } from 'tap'
import { modelRoutes, patternAllows } from '../../src/config/resolve.ts'
import type { ModelConfig } from '../../src/config/schema.ts'

const model = (name: string, target = 'm'): ModelConfig => ({ name, targets: [{ backend: 'b', model: target }], order: 'listed' })
const routes = modelRoutes({ models: [model('gpt-4.1'), model('gpt-*', 'gpt-*'), model('gpt-4*', 'four'), model('x/*', '*'), model('y*', 'fixed')] })
const targetOf = (name: string) => routes.find(name)?.targets[0]?.model

test('an exact name wins, then the longest prefix', async t => {
  t.equal(routes.find('gpt-4.1')?.model.name, 'gpt-4.1')
  t.equal(routes.find('gpt-4.1-mini')?.model.name, 'gpt-4*')
  t.equal(routes.find('gpt-5')?.model.name, 'gpt-*')
  t.equal(routes.find('llama'), null)
})

test('* in a target is what * of the name matched', async t => {
  t.equal(targetOf('gpt-5'), 'gpt-5')
  t.equal(targetOf('x/a/b:c'), 'a/b:c')
  t.equal(targetOf('yes'), 'fixed')
  t.equal(targetOf('x/'), undefined, 'and never nothing')
})

test('a name that no model has is no route, whatever it is made of', async t => {
  for (const name of ['', '*', 'gpt-*', '__proto__', 'constructor', 'x/a b', 'x/a\nb', 'x/$&é', `x/${'a'.repeat(127)}`]) t.equal(routes.find(name), null, name)
  t.equal(targetOf(`x/${'a'.repeat(126)}`), 'a'.repeat(126))
})

test('a public name like a member of every object is an ordinary name', async t => {
  t.equal(modelRoutes({ models: [model('constructor')] }).find('constructor')?.model.name, 'constructor')
})

test('a tenant\'s patterns open exact names and prefixes', async t => {
  const patterns = ['qwen', 'openai/*']
  t.ok(patternAllows(patterns, 'qwen'))
  t.ok(patternAllows(patterns, 'openai/gpt-4.1'))
  t.notOk(patternAllows(patterns, 'qwen3'))
  t.notOk(patternAllows(patterns, 'openai'))
  t.notOk(patternAllows([], 'qwen'))
  t.ok(patternAllows(['*'], 'anything'))
})

test('finding a route is nothing against a call', async t => {
  const many = modelRoutes({ models: Array.from({ length: 1000 }, (_, index) => [model(`m${index}`), model(`p${index}/*`, '*')]).flat() })
  const patterns = ['a', 'b', 'm1*', 'p*']
  const names = ['m500', 'p500/some-model', 'nobody']
  const rounds = 100_000
  let found = 0
  const run = () => {
    for (let round = 0; round < rounds; round++) {
      const name = names[round % 3]!
      if (many.find(name) !== null && patternAllows(patterns, name)) found++
    }
  }
  run()
  const start = performance.now()
  run()
  const each = (performance.now() - start) / rounds * 1000
  t.ok(found > 0)
  t.comment(`${each.toFixed(2)} µs`)
  t.ok(each < 20, 'far above the real time, so that a busy machine does not fail it')
})
