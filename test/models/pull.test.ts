import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { fileOf, readManifest } from '../../src/models/versions.ts'
import { changedPilot, cutAfter, digestOf, PILOT, pullerOf, REPOSITORY, serveFile, stallAfter, startHub, status } from './hub-server.ts'

const SOURCE = `hf:${REPOSITORY}:Q8_0`
const DIGEST = digestOf(PILOT)
const filesOf = (folder: string) => readdirSync(folder).filter(name => name.endsWith('.gguf'))
const partials = (folder: string) => readdirSync(join(folder, 'partial')).filter(name => !name.endsWith('.lock'))

test('a model of the hub is fetched, verified by the digest of the hub, and known by what its head says', async t => {
  const hub = await startHub(t)
  const { folder, pull } = pullerOf(t, hub)
  const { name, version, isNew, isAccepted } = await pull(SOURCE)
  t.match({ name, isNew, isAccepted }, { name: 'pilot.q8_0', isNew: true, isAccepted: false })
  t.match(version, {
    sha256: DIGEST, bytes: PILOT.length, file: 'pilot.Q8_0.gguf', source: SOURCE, revision: 'main', digestFrom: 'hub', licence: 'apache-2.0',
    quantisation: 'Q8_0', architecture: 'llama', parameters: 5_049_600, contextTokens: 2048
  })
  t.ok(readFileSync(fileOf(folder, DIGEST)).equals(PILOT))
  t.equal(statSync(fileOf(folder, DIGEST)).mode & 0o777, 0o400, 'nobody changes it by mistake')
  t.same(partials(folder), [], 'nothing half is left')
  t.same(readManifest(folder).models.map(model => model.name), ['pilot.q8_0'])

  hub.seen.length = 0
  t.match(await pull(SOURCE), { isNew: false })
  t.same(hub.seen.map(({ host }) => host), ['hub'], 'what is here already is only looked up')
})

test('cut connections are gone on from, each where the last one ended', async t => {
  const hub = await startHub(t)
  hub.cdnNext.push(cutAfter(hub, 1_000_000), cutAfter(hub, 2_000_000))
  const { pull, folder, notes } = pullerOf(t, hub)
  await pull(SOURCE)
  t.ok(readFileSync(fileOf(folder, DIGEST)).equals(PILOT))
  const asked = hub.seen.filter(({ host }) => host === 'cdn').map(({ headers }) => [headers.range, String(headers['if-range'])])
  t.match(asked, [[undefined, 'undefined'], [/^bytes=\d{6,7}-$/, '"first"'], [/^bytes=\d{7}-$/, '"first"']])
  const [second = 0, third = 0] = asked.slice(1).map(([range]) => Number(/\d+/.exec(range!)![0]))
  // What had come but was not read when the connection broke comes again.
  t.ok(second > 800_000 && second <= 1_000_000 && third > second + 1_800_000 && third <= second + 2_000_000, `${second}, ${third}`)
  t.equal(notes.length, 2)
})

test('a way that stays broken is given up, and the next pull goes on', async t => {
  const hub = await startHub(t)
  hub.cdnNext.push(cutAfter(hub, 1_000_000), ...Array.from({ length: 5 }, () => status(503)))
  const { pull, folder } = pullerOf(t, hub)
  await t.rejects(pull(SOURCE), /answers 503\. Tried 6 times/)
  t.throws(() => statSync(fileOf(folder, DIGEST)))
  t.match(partials(folder).length, 2)
  await pull(SOURCE)
  t.match(hub.seen.at(-1)!.headers.range, /^bytes=\d{6,7}-$/)
  t.ok(readFileSync(fileOf(folder, DIGEST)).equals(PILOT))
})

test('a stop keeps what has arrived', async t => {
  const hub = await startHub(t)
  hub.cdnNext.push(stallAfter(hub, 2_000_000))
  const { pull, folder } = pullerOf(t, hub)
  const stopping = new AbortController()
  const stopped = new Error('stopped')
  await t.rejects(pull(SOURCE, { signal: stopping.signal, onProgress: (_, bytes) => { if (bytes === 2_000_000) stopping.abort(stopped) } }), stopped)
  await pull(SOURCE)
  t.equal(hub.seen.at(-1)!.headers.range, 'bytes=2000000-')
  t.ok(readFileSync(fileOf(folder, DIGEST)).equals(PILOT))
})

test('silence is a broken connection', async t => {
  const hub = await startHub(t)
  hub.cdnNext.push(stallAfter(hub, 1_000_000))
  const { pull, notes } = pullerOf(t, hub)
  await pull(SOURCE, { idleMs: 100 })
  t.match(notes[0], /was silent for 0\.1 s\. Going on at 1000000 bytes/)
})

test('a file that changes while it comes is fetched anew, never glued together', async t => {
  const hub = await startHub(t)
  hub.cdnNext.push(cutAfter(hub, 1_000_000))
  const address = `${hub.cdnUrl}/pilot.Q8_0.gguf`
  const { pull, folder, notes } = pullerOf(t, hub)
  const changed = changedPilot()
  await t.rejects(pull(address, { onNote: text => {
    notes.push(text)
    hub.files.set('pilot.Q8_0.gguf', changed)
    hub.etag = '"second"'
  }, sha256: DIGEST }), /expected sha256 e371129.*got/)
  t.match(notes.join('\n'), 'Starting over, because the file has changed.')
  t.match(await pull(address), { version: { sha256: digestOf(changed), digestFrom: 'first_pull' } })
  t.same(filesOf(folder), [`${digestOf(changed)}.gguf`])
})

test('a server that ignores If-Range and sends the end of another file is found out by its ETag', async t => {
  const hub = await startHub(t)
  // In what had come already: the end alone would be the same.
  const changed = changedPilot(500_000)
  hub.cdnNext.push(cutAfter(hub, 1_000_000), (request, response) => {
    hub.files.set('pilot.Q8_0.gguf', changed)
    hub.etag = '"second"'
    serveFile(hub, 'pilot.Q8_0.gguf', Object.assign(request, { headers: { range: request.headers.range } }), response)
  })
  const { pull } = pullerOf(t, hub)
  t.match(await pull(`${hub.cdnUrl}/pilot.Q8_0.gguf`), { version: { sha256: digestOf(changed) } })
})

test('without support for ranges every try begins at the beginning', async t => {
  const hub = await startHub(t)
  hub.ranges = false
  hub.cdnNext.push(cutAfter(hub, 1_000_000))
  const { pull, notes } = pullerOf(t, hub)
  t.match(await pull(SOURCE), { version: { sha256: DIGEST } })
  t.match(notes.at(-1), 'the server cannot go on in the middle')
})

test('without an ETag and without a digest nothing is gone on from', async t => {
  const hub = await startHub(t)
  hub.etag = null
  hub.cdnNext.push(cutAfter(hub, 1_000_000))
  const { pull } = pullerOf(t, hub)
  t.match(await pull(`${hub.cdnUrl}/pilot.Q8_0.gguf`), { version: { sha256: DIGEST } })
  t.equal(hub.seen.at(-1)!.headers.range, undefined)
})

test('wrong bytes are dropped, and the version in use stays', async t => {
  const hub = await startHub(t)
  const { pull, folder } = pullerOf(t, hub)
  await pull(SOURCE)
  const next = changedPilot(PILOT.length - 7)
  hub.files.set('pilot.Q8_0.gguf', next)
  hub.served.set('pilot.Q8_0.gguf', changedPilot())
  await t.rejects(pull(SOURCE), new RegExp(`expected sha256 ${digestOf(next)}, got ${digestOf(changedPilot())}.*damaged`))
  t.same(filesOf(folder), [`${DIGEST}.gguf`])
  t.same(partials(folder), [], 'damaged bytes are no beginning')
  t.equal(readManifest(folder).models[0]!.current.sha256, DIGEST)
})

test('a wrong length is refused before it is taken', async t => {
  const hub = await startHub(t)
  hub.served.set('pilot.Q8_0.gguf', PILOT.subarray(0, 5_000_000))
  const { pull } = pullerOf(t, hub)
  await t.rejects(pull(SOURCE), /sends a file of 5000000 bytes, but 5440768 were announced/)
  hub.cdnNext.push((_request, response) => { response.writeHead(200).end(Buffer.concat([PILOT, Buffer.alloc(10)])) })
  await t.rejects(pull(SOURCE), /sends more than the 5440768 bytes/)
})

test('a page instead of a model is found out at its first bytes', async t => {
  const hub = await startHub(t)
  hub.cdnNext.push((_request, response) => { response.end('<!doctype html><title>Log in</title>') })
  const { pull } = pullerOf(t, hub)
  await t.rejects(pull(`${hub.cdnUrl}/pilot.Q8_0.gguf`), /sends no GGUF file; it begins with "<!doctype html>/)
})

test('refusals of the hub say what they mean', async t => {
  const hub = await startHub(t)
  const [without, having] = [pullerOf(t, hub), pullerOf(t, hub, { HF_TOKEN: 'hf_mine' })]
  hub.hubNext.push(status(401), status(401), status(403), status(404))
  await t.rejects(without.pull(SOURCE), /it does not exist, or is not public\. .*set HF_TOKEN/)
  await t.rejects(having.pull(SOURCE), /HF_TOKEN was sent and does not open it/)
  await t.rejects(without.pull(SOURCE), /refuses tiny\/pilot-GGUF \(403\)/)
  await t.rejects(without.pull(SOURCE), /has no repository tiny\/pilot-GGUF, or it has no revision main/)
})

test('429 and 5xx pass: Retry-After is kept to, and a long one is left to the operator', async t => {
  const hub = await startHub(t)
  const { pull, notes } = pullerOf(t, hub)
  hub.hubNext.push(status(500), status(429, { 'retry-after': '0' }))
  hub.cdnNext.push(status(429, { 'retry-after': '1' }), status(502))
  const beganMs = performance.now()
  await pull(SOURCE)
  t.ok(performance.now() - beganMs >= 1000)
  t.equal(notes.length, 4)
  hub.hubNext.push(status(429, { 'retry-after': '3600' }))
  await t.rejects(pull(SOURCE), /answers 429\. Tried 1 time\. It asks to come back in 3600 s/)
})

test('an address of the network that has run out is asked for anew', async t => {
  const hub = await startHub(t)
  hub.cdnNext.push(cutAfter(hub, 1_000_000), status(403))
  const { pull } = pullerOf(t, hub)
  await pull(SOURCE)
  t.equal(hub.seen.filter(({ host, path }) => host === 'hub' && path.includes('/resolve/')).length, 3)
})

test('the token goes to the hub and nowhere else', async t => {
  const hub = await startHub(t)
  const { pull } = pullerOf(t, hub, { HF_TOKEN: 'hf_mine' })
  hub.cdnNext.push(cutAfter(hub, 1_000_000))
  await pull(SOURCE)
  for (const { host, headers, path } of hub.seen) t.equal(headers.authorization, host === 'hub' ? 'Bearer hf_mine' : undefined, path)
  t.ok(hub.seen.some(({ host }) => host === 'cdn'))
})

test('a redirect into the clear, in a circle or to nowhere is not followed', async t => {
  const hub = await startHub(t)
  const { pull } = pullerOf(t, hub)
  hub.hubNext.push(status(302, { location: 'http://198.51.100.7/x' }))
  await t.rejects(pull(SOURCE), /redirects to http:\/\/198\.51\.100\.7; only https/)
  hub.hubNext.push(status(302, { location: 'file:///etc/passwd' }))
  await t.rejects(pull(SOURCE), /only https/)
  hub.hubNext.push(...Array.from({ length: 11 }, () => status(302, { location: '/again' })))
  await t.rejects(pull(SOURCE), /redirects more than 10 times/)
})

test('offline nothing is asked, and a file is taken all the same', async t => {
  const hub = await startHub(t)
  const { pull } = pullerOf(t, hub, { TORCHGATE_OFFLINE: '1' })
  await t.rejects(pull(SOURCE), /TORCHGATE_OFFLINE is set.*torchgate models pull \.\/FILE/)
  await t.rejects(pullerOf(t, hub).pull(`${hub.cdnUrl}/x.gguf`, { offline: true }), /--offline/)
  t.equal(hub.seen.length, 0)
  const file = join(t.testdir({}), 'Own Model.gguf')
  writeFileSync(file, PILOT)
  t.match(await pull(file), { name: 'own-model', version: { sha256: DIGEST, digestFrom: 'first_pull', revision: null } })
})

test('--sha256 is held to, before and after', async t => {
  const hub = await startHub(t)
  const { pull } = pullerOf(t, hub)
  await t.rejects(pull(SOURCE, { sha256: 'a'.repeat(64) }), /by the hub's own word, not a{64}/)
  await t.rejects(pull(`${hub.cdnUrl}/pilot.Q8_0.gguf`, { sha256: 'a'.repeat(64) }), /expected sha256 a{64}, got e371/)
  t.match(await pull(`${hub.cdnUrl}/pilot.Q8_0.gguf`, { sha256: DIGEST }), { version: { digestFrom: 'operator' } })
})

test('an address whose file has changed since the first pull is not taken in silence', async t => {
  const hub = await startHub(t)
  const address = `${hub.cdnUrl}/pilot.Q8_0.gguf`
  const { pull, folder } = pullerOf(t, hub)
  await pull(`${address}?signature=secret`)
  t.notMatch(readFileSync(join(folder, 'manifest.json'), 'utf8'), 'secret', 'a signature is not kept')
  t.match(await pull(address), { isNew: false })
  const changed = changedPilot()
  hub.files.set('pilot.Q8_0.gguf', changed)
  hub.etag = '"second"'
  await t.rejects(pull(address), new RegExp(`has changed.*--sha256 ${digestOf(changed)}`))
  t.match(await pull(address, { sha256: digestOf(changed) }), { isNew: true, version: { sha256: digestOf(changed) } })
  t.match(readManifest(folder).models, [{ current: { sha256: digestOf(changed) }, previous: { sha256: DIGEST } }])
})

test('the disk is looked at before a byte is taken', async t => {
  const hub = await startHub(t)
  const { pull } = pullerOf(t, hub)
  await t.rejects(pull(SOURCE, { freeBytes: async () => 130_000_000 }), /5\.4 MB more are needed and 134\.2 MB are kept in reserve, but 130\.0 MB are free/)
})

test('two pulls of one source do not write into each other', async t => {
  const hub = await startHub(t)
  hub.cdnNext.push(stallAfter(hub, 1_000_000))
  const { pull, folder } = pullerOf(t, hub)
  const stopping = new AbortController()
  let begin = () => {}
  const begun = new Promise<void>(resolve => { begin = resolve })
  const first = pull(SOURCE, { signal: stopping.signal, onProgress: () => { begin() } })
  first.catch(() => {})
  await begun
  await t.rejects(pull(SOURCE), new RegExp(`process ${process.pid} on .* is at work on it \\(pulling ${SOURCE}\\)`))
  stopping.abort(new Error('stopped'))
  await t.rejects(first, /stopped/)
  await pull(SOURCE)
  t.same(filesOf(folder), [`${DIGEST}.gguf`])
})

test('a split model, a missing one and an ambiguous one are refused by name', async t => {
  const hub = await startHub(t)
  hub.files.set('big-Q4_K_M-00001-of-00003.gguf', PILOT)
  hub.files.set('big-Q4_K_M-00002-of-00003.gguf', PILOT)
  hub.files.set('big-Q6_K.gguf', PILOT)
  const { pull } = pullerOf(t, hub)
  await t.rejects(pull(`hf:${REPOSITORY}:Q4_K_M`), /Q4_K_M is split into 3 files/)
  await t.rejects(pull(`hf:${REPOSITORY}/big-Q4_K_M-00001-of-00003.gguf`), /is split into 3 files/)
  await t.rejects(pull(`hf:${REPOSITORY}:Q4_K`), /has no Q4_K; there is pilot\.Q8_0\.gguf, big-Q6_K\.gguf/)
  await t.rejects(pull(`hf:${REPOSITORY}`), /has several models; name one: pilot\.Q8_0\.gguf, big-Q6_K\.gguf/)
  await t.rejects(pull(`${hub.cdnUrl}/big-Q4_K_M-00001-of-00003.gguf`), /one of 3 parts/)
  t.match(await pull(`hf:${REPOSITORY}/big-Q6_K.gguf`), { name: 'big-q6_k' })
})

test('a name that another source has is not taken over unasked', async t => {
  const hub = await startHub(t)
  const { pull, folder } = pullerOf(t, hub)
  await pull(SOURCE)
  const address = `${hub.cdnUrl}/pilot.Q8_0.gguf`
  await t.rejects(pull(address), /already the name of a model from hf:tiny\/pilot-GGUF:Q8_0/)
  t.match(await pull(address, { name: 'other' }), { name: 'other' })
  t.same(filesOf(folder).length, 1, 'the same bytes are kept once')
})
