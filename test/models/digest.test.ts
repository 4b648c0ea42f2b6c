import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { sha256OfFile } from '../../src/models/digest.ts'

test('the built-in model has the digest that the gateway believes it has', async t => {
  t.equal(await sha256OfFile(BUILTIN_MODEL.path), BUILTIN_MODEL.sha256)
  t.equal(createHash('sha256').update(readFileSync(BUILTIN_MODEL.path)).digest('hex'), BUILTIN_MODEL.sha256)
})

test('one changed bit changes the digest', async t => {
  const bytes = readFileSync(BUILTIN_MODEL.path)
  bytes[3_000_000]! ^= 1
  const file = join(t.testdir(), 'changed.gguf')
  writeFileSync(file, bytes)
  t.not(await sha256OfFile(file), BUILTIN_MODEL.sha256)
})

test('progress ends with the size of the file', async t => {
  const seen: number[] = []
  await sha256OfFile(BUILTIN_MODEL.path, { onProgress: bytes => seen.push(bytes) })
  t.equal(seen.at(-1), readFileSync(BUILTIN_MODEL.path).length)
  t.ok(seen.length > 1, 'the file is read in pieces')
})

test('an abort ends the reading', async t => {
  const reason = new Error('enough')
  await t.rejects(sha256OfFile(BUILTIN_MODEL.path, { signal: AbortSignal.abort(reason) }), reason)
  const controller = new AbortController()
  await t.rejects(sha256OfFile(BUILTIN_MODEL.path, { signal: controller.signal, onProgress: () => { controller.abort(reason) } }), reason)
})
