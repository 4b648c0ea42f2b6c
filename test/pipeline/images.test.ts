import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { Pool } from 'undici'
import type { Locality } from '../../src/config/schema.ts'
import { GatewayError } from '../../src/errors.ts'
import { examine, eyes, fetchImages, type Images } from '../../src/pipeline/images.ts'
import type { ChatRequest } from '../../src/wire/chat.ts'
import { dataUrl, jpeg, png } from '../wire/pictures.ts'

const LIMITS = { maxBytes: 100_000, maxPixels: 10_000, maxCount: 4, hosts: ['images.example.com'], timeoutMs: 2000 }
const AT = 'https://images.example.com'

async function startHost (t: Test, files: Record<string, Buffer>): Promise<Images & { seen: string[], dialed: [string, Locality][] }> {
  const [seen, dialed]: [string[], [string, Locality][]] = [[], []]
  const server = createServer((request, response) => {
    seen.push(request.url!)
    const file = files[request.url!]
    response.writeHead(file === undefined ? 404 : 200, { 'content-type': 'text/html' }).end(file)
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const pool = new Pool(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.teardown(async () => {
    await pool.destroy()
    server.close()
  })
  const dial = (origin: string, boundary: Locality) => {
    dialed.push([origin, boundary])
    if (boundary !== 'cloud') throw new GatewayError('egress_forbidden', 'No.')
    return pool
  }
  return { limits: LIMITS, dial, seen, dialed }
}

const part = (url: string) => ({ type: 'image_url', image_url: { url } })
const request = (...urls: string[]) => ({ model: 'm', messages: [{ role: 'system', content: 'Look.' }, { role: 'user', content: [{ type: 'text', text: 'See:' }, ...urls.map(part)] }] }) as ChatRequest
const urlsOf = ({ messages }: ChatRequest) => (messages[1]!.content as { image_url?: { url: string } }[]).flatMap(({ image_url: image }) => image?.url ?? [])
const bounds = (boundary: Locality = 'cloud') => ({ boundary, signal: new AbortController().signal })

test('an image that is named by an address is fetched once, and sent as data of its own type', async t => {
  const there = await startHost(t, { '/a.png': png(10, 10), '/b': jpeg(20, 20) })
  const asked = request(`${AT}/a.png`, `${AT}/b`, dataUrl('png', png(1, 1)), `${AT}/a.png`)
  examine(asked, there)
  await fetchImages(asked, there, bounds())
  t.same(urlsOf(asked), [dataUrl('png', png(10, 10)), dataUrl('jpeg', jpeg(20, 20)), dataUrl('png', png(1, 1)), dataUrl('png', png(10, 10))])
  t.same(there.seen, ['/a.png', '/b'])
  t.same(there.dialed[0], [AT, 'cloud'])
})

test('what is fetched is held to the same bounds', async t => {
  const param = 'messages[1].content[1].image_url.url'
  const there = await startHost(t, { '/wide': png(101, 100), '/page': Buffer.from('<html>'), '/big': Buffer.concat([png(1, 1), Buffer.alloc(60_000)]) })
  await t.rejects(fetchImages(request(`${AT}/wide`), there, bounds()), { code: 'invalid_value', param, message: /pixels/ })
  await t.rejects(fetchImages(request(`${AT}/page`), there, bounds()), { code: 'invalid_value', param, message: /no PNG, JPEG, GIF or WebP/ })
  await t.rejects(fetchImages(request(`${AT}/none`), there, bounds()), { code: 'invalid_value', param, message: /answered 404/ })
  await t.rejects(fetchImages(request(`${AT}/big`, `${AT}/big`), there, bounds()), { code: 'invalid_value', param: 'messages[1].content[2].image_url.url', message: /together/ })
})

test('a call that may not go far fetches nothing', async t => {
  const there = await startHost(t, { '/a.png': png(1, 1) })
  for (const boundary of ['local', 'domain'] as const) {
    await t.rejects(fetchImages(request(`${AT}/a.png`), there, bounds(boundary)), { code: 'egress_forbidden', param: 'messages[1].content[1].image_url.url' })
  }
  t.same(there.seen, [])
})

test('only hosts on the list are asked, by their names alone', async t => {
  const there = await startHost(t, {})
  for (const url of ['https://other.example.com/a', 'https://images.example.com.evil.example/a', 'https://images.example.com:8443/a', 'https://127.0.0.1/a', 'https://IMAGES.example.com.:443/']) {
    t.throws(() => { examine(request(url), there) }, { code: 'invalid_value', param: 'messages[1].content[1].image_url.url', message: /data: URL/ }, url)
  }
  t.doesNotThrow(() => { examine(request('https://Images.Example.com:443/a'), there) })
  t.throws(() => { examine(request(...Array.from({ length: 5 }, () => dataUrl('png', png(1, 1)))), there) }, { code: 'invalid_value', param: 'messages', message: /at most 4 images/ })
})

test('a call without images needs nobody that sees', async t => {
  t.equal(eyes({ model: 'm', messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }] }] }), null)
  const need = eyes(request(dataUrl('png', png(1, 1))))!
  const sees = (isBlind: boolean | undefined, said?: boolean) => need.isMet({ isBlind } as never, { backend: 'b', model: 'm', ...said !== undefined && { images: said } })
  t.same([sees(undefined), sees(true), sees(undefined, false), sees(true, true)], [true, false, false, true])
})
