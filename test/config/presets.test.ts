import { test } from 'tap'
import { PRESETS, withPresets } from '../../src/config/presets.ts'
import { PROVIDERS } from '../../src/config/providers.ts'
import { loaded, problemsOf } from './sample.ts'

const file = (backend: string) => `backends:
  - { name: a, kind: openai, ${backend} }
models:
  - { name: m, targets: [{ backend: a, model: x }] }
tenants:
  - { name: acme, class: public }
`

test('a preset says where a server is and how far away, and what is written goes before it', async t => {
  t.match(loaded(file('preset: groq')).config.backends[0], { preset: 'groq', baseUrl: 'https://api.groq.com/openai/v1', locality: 'cloud' })
  t.match(loaded(file('preset: vllm')).config.backends[0], { baseUrl: 'http://127.0.0.1:8000/v1', locality: 'local' })
  t.match(loaded(file('preset: groq, baseUrl: "https://proxy.example.com/v1"')).config.backends[0], { baseUrl: 'https://proxy.example.com/v1', locality: 'cloud' })
})

test('an engine at an address of its own may be anywhere, so where it is has to be said', async t => {
  t.match(problemsOf(file('preset: vllm, baseUrl: "https://gpu.example.com/v1"')), [/backends\[0\]\.locality: missing; expected local, domain or cloud/])
  t.match(loaded(file('preset: vllm, baseUrl: "https://gpu.example.com/v1", locality: domain')).config.backends[0], { locality: 'domain' })
})

test('a name that is no preset is told, and so is a server without a place', async t => {
  t.match(problemsOf(file('preset: grok')).join('\n'), /backends\[0\]\.preset: expected openai, openrouter/)
  t.match(problemsOf(file('preset: toString')).join('\n'), /backends\[0\]\.preset: expected/)
  t.match(problemsOf(file('headers: {}')).join('\n'), /backends\[0\]\.baseUrl: missing/)
})

test('a cloud that is known is not called local, by preset or by name of its host', async t => {
  t.match(problemsOf(file('preset: fireworks, locality: domain')).join('\n'), /expected cloud, because api\.fireworks\.ai is a third party/)
})

test('providers that the environment brings are where their presets are', async t => {
  for (const { name, baseUrl } of PROVIDERS) {
    if (Object.hasOwn(PRESETS, name)) t.equal(baseUrl, PRESETS[name as keyof typeof PRESETS].baseUrl, name)
  }
})

test('what is no configuration yet is left as it is', async t => {
  for (const value of [null, 1, 'x', [], {}, { backends: null }, { backends: [null, 'x', { kind: 'pool', preset: 'groq' }] }]) t.same(withPresets(value), value)
})
