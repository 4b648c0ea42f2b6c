import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readdirSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { Form } from '../../src/http/form.ts'
import { Parts, type Part } from '../../src/http/parts.ts'
import { Spools } from '../../src/http/spool.ts'

/** What `read` makes of a request whose body is written by `write`. */
async function received<T> (t: Test, pieces: AsyncIterable<Buffer> | Iterable<Buffer>, read: (source: IncomingMessage) => Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const server = createServer((source, response) => {
    read(source).then(resolve, reject).finally(() => { response.end() })
  })
  await new Promise<void>(done => { server.listen(0, '127.0.0.1', done) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const client = httpRequest({ port: (server.address() as AddressInfo).port, method: 'POST', headers: { 'content-type': 'multipart/form-data; boundary=X' } })
  client.on('error', () => {})
  client.on('response', response => { response.resume() })
  for await (const piece of pieces) {
    if (!client.write(piece)) await wait(1)
  }
  client.end()
  return await promise
}

const BYTES = Buffer.from(Array.from({ length: 70_000 }, (_, at) => at % 7 === 0 ? 13 : at % 11 === 0 ? 10 : at % 13 === 0 ? 45 : at % 256))
const field = (name: string, value: string) => Buffer.from(`--X\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
const file = (name: string, bytes: Buffer) => Buffer.concat([Buffer.from(`--X\r\nContent-Disposition: form-data; name="${name}"; filename="ä \\ b.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n`), bytes, Buffer.from('\r\n')])
const END = Buffer.from('--X--\r\n')
const MODEL_LAST = Buffer.concat([file('file', BYTES), field('language', 'de'), field('model', 'ours'), END])
const MODEL_FIRST = Buffer.concat([field('model', 'ours'), file('file', BYTES), field('language', 'de'), END])
const LIMIT = 1_000_000

function * cut (bytes: Buffer, step: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step)
}

async function written (form: Form, model = 'theirs'): Promise<{ text: string, length: number | null }> {
  const { bytes, type, length } = form.open(model)
  const boundary = type.split('boundary=')[1]!
  const body = await buffer(bytes)
  if (length !== null && length !== body.length) throw new Error(`${length} were promised, ${body.length} came`)
  return { text: body.toString('latin1').replaceAll(boundary, 'Y'), length }
}

test('a form is the same however it is cut and whatever comes first', async t => {
  const folder = t.testdir({})
  const spools = new Spools(folder, { most: 1, mostOfOne: 1 })
  const texts = new Set<string>()
  for (const body of [MODEL_LAST, MODEL_FIRST]) {
    for (const step of [1000, 4093, 65_536, 1_000_000]) {
      const { text, length } = await received(t, cut(body, step), async source => {
        const form = await Form.read(new Parts(source, LIMIT), { hint: null, file: 'file', spools, tenant: 'acme' })
        try {
          t.same([form.model, form.isSpent, readdirSync(folder)], ['ours', false, []])
          const sent = await written(form)
          t.equal(form.isSpent, body === MODEL_FIRST)
          if (body === MODEL_LAST) t.equal((await written(form)).text, sent.text, 'it can be sent again')
          else t.throws(() => form.open('theirs'), { code: 'internal_error' })
          return sent
        } finally {
          await form.close()
        }
      })
      t.equal(length === null, body === MODEL_FIRST)
      texts.add(text)
    }
  }
  t.equal(texts.size, 1)
  const wanted = `--Y\r\nContent-Disposition: form-data; name="model"\r\n\r\ntheirs\r\n--Y\r\nContent-Disposition: form-data; name="file"; filename="${Buffer.from('ä').toString('latin1')} \\ b.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n${BYTES.toString('latin1')}\r\n`
  t.ok([...texts][0]!.startsWith(wanted))
})

test('no more forms wait than may, and each gives its place back', async t => {
  const spools = new Spools(t.testdir({}), { most: 1, mostOfOne: 1 })
  const read = (source: IncomingMessage) => Form.read(new Parts(source, LIMIT), { hint: null, file: 'file', spools, tenant: 'acme' })
  const first = await received(t, [MODEL_LAST], read)
  await t.rejects(received(t, [MODEL_LAST], read), { code: 'backend_overloaded' })
  await first.close()
  await first.close()
  await t.rejects(received(t, [MODEL_LAST.subarray(0, 40_000)], read), { code: 'invalid_value' })
  await t.rejects(received(t, [file('file', BYTES), END], read), { code: 'missing_required_parameter', param: 'model' })
  const long = field('prompt', 'p'.repeat(4_200_000))
  await t.rejects(received(t, [Buffer.concat([long, MODEL_LAST])], source => Form.read(new Parts(source, 10_000_000), { hint: null, file: 'file', spools, tenant: 'acme' })), { code: 'invalid_value', message: /longer than/ })
  const last = await received(t, [MODEL_LAST], read)
  await last.close()
})

test('nothing is read ahead of whoever takes it', async t => {
  let taken = 0
  async function * endless () {
    yield field('model', 'ours')
    yield file('file', Buffer.alloc(0)).subarray(0, -2)
    for (; taken < 400; taken++) yield Buffer.alloc(65_536)
  }
  await received(t, endless(), async source => {
    const parts = new Parts(source, 100_000_000)
    t.match(await parts.next(), { kind: 'field', name: 'model' })
    const part = await parts.next() as Part & { kind: 'file' }
    t.equal(part.kind, 'file')
    await wait(200)
    t.ok(source.socket.bytesRead < 2_000_000, `${source.socket.bytesRead} bytes were read, though none were taken`)
    parts.close()
    for (let looks = 0; looks < 100 && source.socket.bytesRead < 10_000_000; looks++) await wait(50)
    t.ok(source.socket.bytesRead > 10_000_000, 'once nobody wants it, it is read and dropped')
  })
})

test('a caller that leaves ends what is read', async t => {
  const { promise, resolve } = Promise.withResolvers<unknown>()
  const server = createServer(source => {
    const parts = new Parts(source, LIMIT)
    void (async () => {
      const part = await parts.next() as Part & { kind: 'file' }
      for await (const _ of part.bytes) { /* all of it */ }
    })().then(resolve, resolve)
  })
  await new Promise<void>(done => { server.listen(0, '127.0.0.1', done) })
  t.teardown(() => { server.close() })
  const client = httpRequest({ port: (server.address() as AddressInfo).port, method: 'POST', headers: { 'content-type': 'multipart/form-data; boundary=X' } })
  client.on('error', () => {})
  client.write(file('file', BYTES).subarray(0, 50_000))
  await wait(50)
  client.destroy()
  t.match(await promise, { code: 'client_closed' })
})

test('no tenant takes all the room for forms that wait', async t => {
  const spools = new Spools(t.testdir({}), { most: 3, mostOfOne: 2 })
  const mine = [await spools.open('acme'), await spools.open('acme')]
  await t.rejects(spools.open('acme'), { code: 'backend_overloaded', message: /^2 forms of the tenant acme/ })
  const theirs = await spools.open('other')
  await t.rejects(spools.open('third'), { code: 'backend_overloaded', message: /^3 forms are/ })
  await mine[0]!.close()
  await mine[0]!.close()
  mine.push(await spools.open('acme'))
  for (const spool of [...mine, theirs]) await spool.close()
})
