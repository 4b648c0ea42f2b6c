import { join } from 'node:path'
import { test } from 'tap'
import { check } from '../../src/cli/check.ts'
import { SAMPLE } from '../config/sample.ts'

test('says ok with what is in it, or every problem, and the exit code to match', async t => {
  const folder = t.testdir({
    'good.yaml': SAMPLE,
    'bad.yaml': `${SAMPLE.replace('cloud', 'onprem')}log: { level: loud }\n`,
    'warned.yaml': `${SAMPLE}    models: ["*", "nothing"]\n`,
    models: { 'qwen.gguf': 'GGUF' }
  })
  const run = (name: string, env = {}) => {
    const lines: string[] = []
    return [check(join(folder, name), { env, print: line => lines.push(line.replaceAll(join(folder, '/'), '')) }), ...lines]
  }
  const env = { OPENAI_API_KEY: 'k' }
  t.match(run('good.yaml', env), [0, /^good\.yaml: ok, 2 backends, 2 models, 1 tenant, revision [0-9a-f]{12}$/])
  t.same(run('good.yaml'), [1, 'good.yaml:10 backends[1].apiKey: the environment variable OPENAI_API_KEY is not set, nor is OPENAI_API_KEY_FILE'])
  t.same(run('bad.yaml', env), [
    1,
    'bad.yaml:9 backends[1].locality: expected local, domain or cloud, got "onprem"',
    'bad.yaml:22 log.level: expected debug, info, warn, error or silent, got "loud"'
  ])
  t.match(run('warned.yaml', env), [0, 'warned.yaml:22 tenants[0].models[1]: warning: "nothing" matches no model', /^warned\.yaml: ok/])
  t.same(run('none.yaml', env), [1, 'none.yaml: cannot be read: there is no such file'])
  t.same(run('good.yaml', { ...env, PORT: 'abc' }), [1, 'PORT: expected a number from 0 to 65535, got "abc"'])
})

test('a model file that is not there is told with its line', async t => {
  const folder = t.testdir({ 'a.yaml': SAMPLE })
  const lines: string[] = []
  t.equal(check(join(folder, 'a.yaml'), { env: { OPENAI_API_KEY: 'k' }, print: line => lines.push(line) }), 1)
  t.same(lines, [`${join(folder, 'a.yaml')}:5 backends[0].models[0].path: ${join(folder, 'models/qwen.gguf')} does not exist`])
})
