/** The other commands, as processes: what they print, where, and their exit codes. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { SAMPLE } from '../config/sample.ts'
import { openFolder, ROOT, run } from './command.ts'

const limits = { timeout: 60_000 }
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }

test('every command says what it takes', limits, async t => {
  const folder = openFolder(t)
  const whole = await run(t, folder, ['--help'])
  t.match(whole, { code: 0, stderr: '', stdout: /^Usage: torchgate / })
  const commands = [...whole.stdout.matchAll(/^ {2}(\w+) .*[a-z]/gm)].map(([, name]) => name!)
  t.match(commands, ['start', 'worker', 'check', 'explain', 'keys', 'models', 'route', 'docs', 'help'])
  t.same(await run(t, folder, ['--version']), { code: 0, signal: null, stdout: `${version}\n`, stderr: '' })
  t.match(await run(t, folder, ['start', '--help']), { code: 0, stdout: /--data-dir <folder>/ })
})

test('what nobody knows is told with what was meant, and exit code 1', limits, async t => {
  const folder = openFolder(t)
  const mistakes: [string[], string][] = [
    [['strat'], "error: unknown command 'strat'\n(Did you mean start?)\nAdd --help to see what there is.\n"],
    [['--prot', '1'], "error: unknown option '--prot'\n(Did you mean --port?)\nAdd --help to see what there is.\n"],
    [['start', 'now'], "error: too many arguments for 'start'. Expected 0 arguments but got 1: now.\nAdd --help to see what there is.\n"],
    [['check'], "error: missing required argument 'file'\nAdd --help to see what there is.\n"],
    [['explain'], "error: required option '--model <name>' not specified\nAdd --help to see what there is.\n"],
    [['worker', '--model', 'x', '--gpu', 'abacus'], "error: option '--gpu <kind>' argument 'abacus' is invalid. Allowed choices are auto, cuda, vulkan, metal, false.\nAdd --help to see what there is.\n"]
  ]
  for (const [args, said] of mistakes) t.same(await run(t, folder, args), { code: 1, signal: null, stdout: '', stderr: said }, args.join(' '))
})

test('check prints every problem with file and line, for editors and CI', limits, async t => {
  const folder = openFolder(t)
  writeFileSync(join(folder, 'bad.yaml'), `${SAMPLE.replace('cloud', 'onprem')}log: { level: loud }\n`)
  const { code, stdout, stderr } = await run(t, folder, ['check', join(folder, 'bad.yaml')])
  t.equal(code, 1)
  t.equal(stderr, '')
  t.match(stdout.split('\n'), [/bad\.yaml:9 backends\[1\]\.locality: expected/, /bad\.yaml:22 log\.level: expected/, ''])
  t.match(await run(t, folder, ['check', 'torchgate.example.yaml'], { env: { OPENAI_API_KEY: 'k' } }), { signal: null, stderr: '' })
})

test('explain says where a call would go', limits, async t => {
  const folder = openFolder(t)
  const { code, stdout } = await run(t, folder, ['explain', '--model', 'gpt-5', '--class', 'restricted'], { env: { OPENAI_API_KEY: 'k' } })
  t.equal(code, 0)
  t.match(JSON.parse(stdout), { class: { claimed: 'restricted', effective: 'restricted' }, boundary: { effective: 'local' }, candidates: [{ target: 'openai/gpt-5', verdict: 'rejected' }] })
  t.match(await run(t, folder, ['explain', '--model', 'nope']), { code: 1, stdout: '', stderr: /^torchgate: The model `nope` does not exist\./ })
  t.match(await run(t, folder, ['explain', '--model', 'pilot', '--tenant', 'nobody']), { code: 1, stdout: '', stderr: 'torchgate: No tenant of this name is configured.\n' })
})

test('the printed pages are those of the code', limits, async t => {
  t.same(await run(t, openFolder(t), ['docs', '--check']), { code: 0, signal: null, stdout: '', stderr: '' })
})
