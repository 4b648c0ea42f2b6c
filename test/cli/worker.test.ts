/** `torchgate worker` by hand: one model on a port, without a gateway. */
import { join } from 'node:path'
import { test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { Command, openFolder, run, withoutCurl } from './command.ts'

const limits = { timeout: 60_000 }

test('a worker started by hand answers on its port, and stops on Ctrl-C', { ...limits, skip: withoutCurl }, async t => {
  const folder = openFolder(t)
  const worker = new Command(t, folder, ['worker', '--model', BUILTIN_MODEL.path, '--name', 'tiny', '--context-tokens', '512', '--gpu', 'false', '--port', '0'])
  const [, url = ''] = await worker.says(/tiny answers on (http:\/\/127\.0\.0\.1:\d+), 4 slots of 512 tokens on CPU$/m)
  const body = JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'What is the capital of France?' }], temperature: 0 })
  const { code, stdout } = await run(t, folder, ['-s', `${url}/v1/chat/completions`, '-H', 'content-type: application/json', '-d', body], { program: ['curl'] })
  t.equal(code, 0)
  t.match(JSON.parse(stdout), { model: 'tiny', choices: [{ message: { content: 'The capital of France is Paris.' } }] })
  worker.interrupt()
  t.same(await worker.exit, { code: 0, signal: null })
})

test('a worker that cannot load says why', limits, async t => {
  const folder = openFolder(t)
  t.match(await run(t, folder, ['worker', '--model', join(folder, 'none.gguf')]), { code: 70, stdout: '', stderr: /could not be loaded: .*none\.gguf/ })
  t.match(await run(t, folder, ['worker', '--model', join(import.meta.dirname, 'worker.test.ts')]), { code: 70, stderr: /could not be loaded: .*worker\.test\.ts/ })
  t.match(await run(t, folder, ['worker', '--model', BUILTIN_MODEL.path, '--port', '0', '--socket', join(folder, 's')]), { code: 1, stderr: /^error: option '--socket <path>' cannot be used with option '--port <number>'/ })
})
