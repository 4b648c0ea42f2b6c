import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { isAccepted, licenceOf, withAccepted } from '../../src/models/licence.ts'
import { takeLock } from '../../src/models/lock.ts'
import { entryOf, NO_MODELS, parseManifest, rolledBack, withVersion, without, type Version } from '../../src/models/manifest.ts'
import { quantisationOf } from '../../src/models/quantisation.ts'
import { addVersion, changeManifest, fileOf, readManifest } from '../../src/models/versions.ts'

const version = (digit: string): Version => ({
  sha256: digit.repeat(64), bytes: 4, file: 'm.gguf', source: 'hf:a/b:Q8_0', revision: 'main', etag: null, digestFrom: 'hub', licence: 'mit',
  quantisation: 'Q8_0', architecture: 'llama', parameters: 1, contextTokens: null, pulledAt: '2026-11-22T00:00:00.000Z'
})
const signal = new AbortController().signal
const folderOf = (t: Test) => t.testdir({})

async function add (folder: string, name: string, digit: string) {
  const partial = join(folder, `${name}-${digit}.partial`)
  writeFileSync(partial, 'GGUF')
  await addVersion(folder, name, version(digit), partial, signal)
}

test('the version before is kept, and going back is a change of the manifest alone', async t => {
  const folder = folderOf(t)
  await add(folder, 'm', 'a')
  await add(folder, 'm', 'b')
  const inodes = ['a', 'b'].map(digit => statSync(fileOf(folder, digit.repeat(64))).ino)
  await changeManifest(folder, manifest => rolledBack(manifest, 'm')!, signal)
  t.match(readManifest(folder).models, [{ name: 'm', current: version('a'), previous: version('b') }])
  await changeManifest(folder, manifest => rolledBack(manifest, 'm')!, signal)
  t.match(readManifest(folder).models, [{ name: 'm', current: version('b'), previous: version('a') }])
  t.same(['a', 'b'].map(digit => statSync(fileOf(folder, digit.repeat(64))).ino), inodes)
})

test('the version before the previous one goes, unless another model has it', async t => {
  const folder = folderOf(t)
  await add(folder, 'm', 'a')
  await add(folder, 'n', 'b')
  for (const digit of ['b', 'c', 'd']) await add(folder, 'm', digit)
  t.same(readdirSync(folder).filter(name => name.endsWith('.gguf')).map(name => name[0]), ['b', 'c', 'd'])
  await changeManifest(folder, manifest => without(manifest, 'm'), signal)
  t.same(readdirSync(folder).filter(name => name.endsWith('.gguf')).map(name => name[0]), ['b'])
})

test('pulling the previous version again trades places', async t => {
  const twice = withVersion(withVersion(NO_MODELS, 'm', version('a')), 'm', version('b'))
  t.match(entryOf(withVersion(twice, 'm', version('a')), 'm'), { current: version('a'), previous: version('b') })
  t.match(entryOf(withVersion(twice, 'm', version('b')), 'm'), { current: version('b'), previous: version('a') })
  t.equal(rolledBack(withVersion(NO_MODELS, 'm', version('a')), 'm'), null)
})

test('a manifest is not taken on trust', async t => {
  const folder = folderOf(t)
  t.same(readManifest(folder), NO_MODELS, 'none is none')
  const good = withVersion(NO_MODELS, 'm', version('a'))
  t.same(parseManifest(JSON.stringify(good)), good)
  const bad: unknown[] = [
    { ...good, version: 2 }, { version: 1 }, { ...good, models: [{ name: '../x', current: version('a'), previous: null }] },
    { ...good, models: [{ name: 'm', current: { ...version('a'), sha256: '../../etc/passwd' }, previous: null }] },
    { ...good, models: [{ name: 'm', current: version('a'), previous: { ...version('a'), bytes: -0.5 } }] }, { ...good, licences: [{}] }
  ]
  for (const value of bad) {
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(value))
    t.throws(() => readManifest(folder), new RegExp(`^${join(folder, 'manifest.json')}: .`))
  }
  writeFileSync(join(folder, 'manifest.json'), '{')
  t.throws(() => readManifest(folder), /manifest\.json: .*JSON/)
})

test('fifty changes at once lose nothing', async t => {
  const folder = folderOf(t)
  const names = Array.from({ length: 50 }, (_, index) => `licence-${index}`)
  await Promise.all(names.map(name => changeManifest(folder, manifest => ({ ...manifest, licences: withAccepted(manifest.licences, [name], new Date()) }), signal)))
  t.same(readManifest(folder).licences.map(({ licence }) => licence).toSorted(), names.toSorted())
  t.notOk(existsSync(join(folder, 'manifest.lock')))
})

test('a lock of a process that is gone is taken over at once, one of another host when nobody has touched it', async t => {
  const path = join(folderOf(t), 'x.lock')
  const take = async () => { await using _lock = await takeLock(path, { signal, what: 'testing' }) }
  const lock = (host: string, pid: number, ageMs = 0) => {
    writeFileSync(path, JSON.stringify({ pid, host, what: 'pulling', token: 't' }))
    const at = new Date(Date.now() - ageMs)
    utimesSync(path, at, at)
  }
  lock(hostname(), 2 ** 22 + 1)
  await take()
  lock('elsewhere', 1)
  await t.rejects(take(), /process 1 on elsewhere is at work on it \(pulling\)/)
  lock('elsewhere', 1, 61_000)
  await take()
  writeFileSync(path, '')
  await t.rejects(take(), /process 0 on another host/, 'one that is just being written is respected')
  utimesSync(path, 0, 0)
  await take()
  t.notOk(existsSync(path))
})

test('a stale lock is taken over by one of many', async t => {
  const path = join(folderOf(t), 'x.lock')
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), what: 'pulling', token: 't' }))
  let inside = 0
  let most = 0
  await Promise.all(Array.from({ length: 20 }, async () => {
    await using _lock = await takeLock(path, { signal, what: 'testing', patienceMs: 8000 })
    most = Math.max(most, ++inside)
    await new Promise(resolve => { setTimeout(resolve, 2) })
    inside--
  }))
  t.equal(most, 1)
})

test('a licence is named by what the file says, and one that says nothing stands for itself alone', async t => {
  const digest = 'ab'.repeat(32)
  const named = (license: string | null, licenseName: string | null = null) => licenceOf({ license, licenseName }, digest)
  t.equal(named('Apache-2.0'), 'apache-2.0')
  t.equal(named('other', 'Llama 3.1 Community'), 'llama-3.1-community')
  t.equal(named(null), 'unstated-abababababab')
  t.equal(named('other', ' '), 'unstated-abababababab')
  t.equal(named('\u001b[31mmit\n'), '31mmit', 'nothing of it reaches a terminal as more than text')
  t.equal(named('x'.repeat(500)).length, 64)
  const accepted = withAccepted([], ['mit', 'mit'], new Date(0))
  t.same(accepted, [{ licence: 'mit', acceptedAt: '1970-01-01T00:00:00.000Z' }])
  t.same([isAccepted('mit', accepted), isAccepted('apache-2.0', accepted)], [true, false])
})

test('quantisations have the names in use', async t => {
  t.same([0, 7, 15, 18, 32, 38, 4242, null].map(quantisationOf), ['F32', 'Q8_0', 'Q4_K_M', 'Q6_K', 'BF16', 'MXFP4_MOE', 'type-4242', 'unknown'])
})
