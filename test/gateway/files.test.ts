import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { test } from 'tap'
import { toFile } from 'openai'
import { eventually, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

const yaml = (url: string) => `
backends:
  - { name: near, kind: openai, baseUrl: ${url}, locality: local }
models:
  - { name: pilot, targets: [{ backend: near, model: m }] }
tenants:
  - { name: keeps, storeFiles: true }
  - { name: also, storeFiles: true }
  - { name: never }
files: { maxBytes: 300000, perTenantBytes: 800000, perTenant: 5, retentionHours: 24 }
`

test('files are kept for the tenants whose policy says so, and for nobody else', async t => {
  const provider = await startProvider(t)
  const running = await startGateway(t, yaml(provider.url))
  const [keeps, also, never] = await Promise.all(['keeps', 'also', 'never'].map(name => running.client(name)))
  const onDisk = () => readdirSync(join(running.folder, 'data', 'files'))
  const upload = async (text: string, more = {}, client = keeps!) => client.files.create({ file: await toFile(Buffer.from(text), 'notes.jsonl'), purpose: 'batch', ...more })

  await t.test('what was uploaded comes back as it was', async t => {
    const text = `{"word":"marzipan"}\r\n${'é'.repeat(70_000)}`
    const file = await upload(text)
    t.match(file, { object: 'file', bytes: Buffer.byteLength(text), filename: 'notes.jsonl', purpose: 'batch', status: 'processed' })
    t.match(file.id, /^file-[0-9a-f]{32}$/)
    t.equal(file.expires_at! - file.created_at, 24 * 3600)
    t.strictSame(await keeps!.files.retrieve(file.id), file)
    const content = await keeps!.files.content(file.id)
    t.equal(await content.text(), text)
    t.match(content.headers.get('content-disposition'), 'notes.jsonl')
    t.match(await keeps!.files.delete(file.id), { id: file.id, deleted: true })
    await t.rejects(keeps!.files.retrieve(file.id), { status: 404, code: 'file_not_found', param: 'file_id' })
    await t.rejects(keeps!.files.delete(file.id), { code: 'file_not_found' })
    t.strictSame(onDisk(), [])
  })

  await t.test('they are listed page by page, latest first, and by purpose', async t => {
    const made = []
    for (const purpose of ['batch', 'user_data', 'batch'] as const) made.push(await upload(purpose, { purpose }))
    const seen: string[] = []
    for await (const { id } of keeps!.files.list({ limit: 2 })) seen.push(id)
    t.strictSame(seen, made.map(({ id }) => id).toReversed())
    t.strictSame((await keeps!.files.list({ purpose: 'user_data' })).data.map(({ id }) => id), [made[1]!.id])
    t.strictSame((await keeps!.files.list({ order: 'asc', limit: 1 })).data.map(({ id }) => id), [made[0]!.id])
    t.strictSame((await keeps!.files.list({ after: 'file-none' })).data, [])
    await t.rejects(keeps!.files.list({ limit: 0 }), { code: 'invalid_value', param: 'limit' })
    await t.rejects(keeps!.files.list({ order: 'up' as 'asc' }), { code: 'invalid_value', param: 'order' })
    for (const { id } of made) await keeps!.files.delete(id)
  })

  await t.test('no tenant sees, reads or deletes the file of another', async t => {
    const { id } = await upload('mine')
    for (const call of ['retrieve', 'content', 'delete'] as const) await t.rejects(Promise.resolve(also!.files[call](id)), { status: 404, code: 'file_not_found' })
    t.strictSame((await also!.files.list()).data, [])
    t.equal(await (await keeps!.files.content(id)).text(), 'mine')
    await keeps!.files.delete(id)
  })

  await t.test('where keeping is off nothing is written', async t => {
    await t.rejects(upload('hedgehog', {}, never), { status: 403, code: 'files_not_kept' })
    t.strictSame(onDisk(), [])
    t.strictSame((await never!.files.list()).data, [])
  })

  await t.test('an earlier end is honoured, a later one refused', async t => {
    const file = await upload('x', { expires_after: { anchor: 'created_at', seconds: 3600 } })
    t.equal(file.expires_at! - file.created_at, 3600)
    await keeps!.files.delete(file.id)
    await t.rejects(upload('x', { expires_after: { anchor: 'created_at', seconds: 90_000 } }), { status: 400, code: 'invalid_value', param: 'expires_after.seconds' })
    await t.rejects(upload('x', { expires_after: { anchor: 'created_at', seconds: 60 } }), { code: 'invalid_value', param: 'expires_after.seconds' })
  })

  await t.test('too much is refused, and nothing of it stays', async t => {
    await t.rejects(upload('x'.repeat(300_001)), { status: 413, code: 'file_too_large', param: 'file' })
    const kept = [await upload('x'.repeat(300_000)), await upload('x'.repeat(300_000))]
    await t.rejects(upload('x'.repeat(200_001)), { status: 413, code: 'storage_full', param: 'file' })
    for (let count = kept.length; count < 5; count++) kept.push(await upload('small'))
    await t.rejects(upload('one too many'), { status: 413, code: 'storage_full' })
    t.same(new Set(onDisk()), new Set(kept.map(({ id }) => id)))
    for (const { id } of kept) await keeps!.files.delete(id)
  })

  await t.test('what is no form with a file is told so', async t => {
    const key = await running.key('keeps')
    const post = async (body: FormData | string, headers: Record<string, string> = {}) => {
      const response = await fetch(`${running.url}/v1/files`, { method: 'POST', body, headers: { authorization: `Bearer ${key}`, ...headers } })
      return { status: response.status, ...(await response.json() as { error: { code: string, param: string | null } }).error }
    }
    const form = (...parts: [string, string | Blob][]) => { const data = new FormData(); for (const [name, value] of parts) data.append(name, value as string); return data }
    const blob = new Blob(['{}'])
    t.match(await post('{}', { 'content-type': 'application/json' }), { status: 415, code: 'unsupported_media_type' })
    t.match(await post(form(['purpose', 'batch'])), { status: 400, code: 'missing_required_parameter', param: 'file' })
    t.match(await post(form(['file', blob])), { status: 400, code: 'missing_required_parameter', param: 'purpose' })
    t.match(await post(form(['file', blob], ['purpose', 'party'])), { status: 400, code: 'invalid_value', param: 'purpose' })
    t.match(await post(form(['file', blob], ['purpose', 'batch'], ['colour', 'red'])), { code: 'unsupported_parameter', param: 'colour' })
    t.match(await post(form(['document', blob], ['purpose', 'batch'])), { code: 'unsupported_parameter', param: 'document' })
    t.match(await post(form(['file', blob], ['file', blob], ['purpose', 'batch'])), { status: 400, code: 'invalid_value' })
    t.match(await post('--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf', { 'content-type': 'multipart/form-data; boundary=x' }), { status: 400, code: 'invalid_value' })
    t.match(await post('hello', { 'content-type': 'multipart/form-data' }), { status: 400, code: 'invalid_value' })
    t.strictSame(onDisk(), [])
  })

  await t.test('the name of a file never becomes a path', async t => {
    const file = await keeps!.files.create({ file: await toFile(Buffer.from('x'), '../../evil\u0007.jsonl'), purpose: 'batch' })
    t.notOk(file.filename.includes('/') || file.filename.includes('\u0007'), file.filename)
    t.strictSame(onDisk(), [file.id])
    t.equal(readFileSync(join(running.folder, 'data', 'files', file.id), 'utf8'), 'x')
  })
})

test('files have bounds of their own, and leave nothing behind', async t => {
  const provider = await startProvider(t)
  const running = await startGateway(t, yaml(provider.url), {}, 'bodyLimitBytes: 1024, drainTimeoutMs: 1000')
  const client = await running.client('keeps')
  const folder = join(running.folder, 'data', 'files')
  const file = await client.files.create({ file: await toFile(Buffer.from('x'.repeat(200_000)), 'large.jsonl'), purpose: 'batch' })
  t.equal(file.bytes, 200_000, 'server.bodyLimitBytes is for what is held in memory')

  const open = () => readdirSync('/proc/self/fd').length
  const before = open()
  const { hostname, port } = new URL(running.url)
  const key = await running.key('keeps')
  const head = { authorization: `Bearer ${key}`, 'content-type': 'multipart/form-data; boundary=x' }
  for (let times = 0; times < 5; times++) {
    const upload = request({ hostname, port, method: 'POST', path: '/v1/files', headers: head })
    upload.on('error', () => {})
    upload.write(`--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n${'x'.repeat(100_000)}`)
    await eventually(() => readdirSync(folder).some(name => name.endsWith('.part')))
    upload.destroy()
    t.ok(await eventually(() => readdirSync(folder).length === 1), 'what a caller that left has sent is gone')
    const download = await fetch(`${running.url}/v1/files/${file.id}/content`, { headers: { authorization: `Bearer ${key}` } })
    await download.body!.cancel()
    await fetch(`${running.url}/v1/files/${file.id}/content`, { method: 'HEAD', headers: { authorization: `Bearer ${key}` } })
  }
  t.ok(await eventually(() => open() <= before + 4), `${open()} open files, ${before} before`)
  t.equal((await client.files.list()).data.length, 1)
})
