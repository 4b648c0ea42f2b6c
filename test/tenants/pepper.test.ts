import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import { loadPepper } from '../../src/tenants/pepper.ts'

test('the pepper is made once, for the owner alone, and stays', t => {
  const folder = join(t.testdir(), 'data')
  const pepper = loadPepper(folder)
  t.equal(pepper.length, 32)
  t.notSame(pepper, Buffer.alloc(32))
  t.strictSame(loadPepper(folder), pepper)
  t.strictSame(readFileSync(join(folder, 'pepper')), pepper)
  t.equal(statSync(join(folder, 'pepper')).mode & 0o777, 0o600)
  t.equal(statSync(folder).mode & 0o777, 0o700)
  t.strictSame(readdirSync(folder), ['pepper'], 'no draft is left')
  t.notSame(loadPepper(join(t.testdirName, 'other')), pepper)
  t.end()
})

test('a pepper of another length is named and not replaced', t => {
  const folder = t.testdir({ pepper: 'short\n' })
  const path = join(folder, 'pepper')
  t.throws(() => loadPepper(folder), { code: 'internal_error', message: `The pepper ${path} has 6 bytes, expected 32. ` +
    'Restore it from a backup; only if there is none, remove it, and every key has to be made anew.' })
  t.equal(readFileSync(path, 'utf8'), 'short\n')
  writeFileSync(path, '')
  t.throws(() => loadPepper(folder), { message: /has 0 bytes/ })
  t.end()
})

test('a place where no pepper can be is named', t => {
  const folder = t.testdir({ file: '', taken: { pepper: {} } })
  t.throws(() => loadPepper(join(folder, 'file')), { code: 'internal_error', message: /The pepper .*file.pepper cannot be read or made: ENOTDIR/ })
  t.throws(() => loadPepper(join(folder, 'taken')), { code: 'internal_error', message: /EISDIR/ })
  t.end()
})

// Root may write anywhere.
if (process.getuid?.() !== 0) {
  test('a folder that may not be written to is named', t => {
    const folder = t.testdir({})
    chmodSync(folder, 0o500)
    t.teardown(() => chmodSync(folder, 0o700))
    t.throws(() => loadPepper(folder), { code: 'internal_error', message: /EACCES/ })
    t.end()
  })
}

test('processes that start together agree on one pepper', async t => {
  const folder = t.testdir()
  const script = join(folder, 'load.ts')
  writeFileSync(script, `
    import { loadPepper } from ${JSON.stringify(fileURLToPath(new URL('../../src/tenants/pepper.ts', import.meta.url)))}
    const [folder, at] = process.argv.slice(2)
    while (Date.now() < Number(at));
    process.stdout.write(loadPepper(folder).toString('hex'))
  `)
  const at = String(Date.now() + 800)
  const peppers = await Promise.all(['a', 'b', 'c', 'd'].map(async () => {
    const child = spawn(process.execPath, [script, join(folder, 'data'), at], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [chunks] = await Promise.all([child.stdout.toArray(), once(child, 'exit')])
    return Buffer.concat(chunks as Buffer[]).toString()
  }))
  t.equal(new Set(peppers).size, 1, peppers.join())
  t.equal(peppers[0], loadPepper(join(folder, 'data')).toString('hex'))
  t.strictSame(readdirSync(join(folder, 'data')), ['pepper'])
})
