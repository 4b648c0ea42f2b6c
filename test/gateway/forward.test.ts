/** Audio, images and moderations through a whole gateway: the real SDK, and a provider that keeps every byte. */
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { createReadStream, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { toFile } from 'openai'
import { test } from 'tap'
import { eventually, startGateway, type Running } from './harness.ts'
import { bytes, events, fieldsOf, json, startMediaProvider } from './media.ts'

const grid = (one: string, two: string) => `
backends:
  - { name: chats, kind: anthropic, baseUrl: 'http://127.0.0.1:1', locality: local }
  - { name: one, kind: openai, baseUrl: '${one}', locality: cloud }
  - { name: two, kind: openai, baseUrl: '${two}', locality: cloud }
  - { name: gone, kind: openai, baseUrl: 'http://127.0.0.1:2/v1', locality: cloud }
models:
  - { name: media, targets: [{ backend: one, model: theirs }] }
  - { name: both, targets: [{ backend: one, model: theirs }, { backend: two, model: others }] }
  - { name: mixed, targets: [{ backend: chats, model: pilot }, { backend: one, model: theirs }] }
  - { name: moved, targets: [{ backend: gone, model: theirs }, { backend: two, model: others }] }
  - { name: pilot, targets: [{ backend: chats, model: pilot }] }
  - { name: omni-moderation-latest, targets: [{ backend: one, model: judge }] }
tenants:
  - { name: open, class: public, models: ['*'] }
  - { name: closed, class: restricted, models: ['*'] }
`

const refusal = (answer: Promise<unknown>): Promise<unknown> => answer.then(() => 'answered', (error: unknown) => error)
const SOUND = Buffer.from(Array.from({ length: 200_000 }, (_, at) => (at * 31) % 256))
const audio = () => toFile(SOUND, 'speech "one".mp3', { type: 'audio/mpeg' })
const PROMPT = 'rose-garden-4711'

test('what is no text is passed to those who serve it', { timeout: 60_000 }, async t => {
  const [one, two] = [await startMediaProvider(t), await startMediaProvider(t)]
  const running = await startGateway(t, grid(one.url, two.url), {}, 'drainTimeoutMs: 3000, bodyLimitBytes: 1048576')
  const [open, closed] = [await running.client('open'), await running.client('closed')]
  const last = () => one.heard.at(-1)!
  const lastRecord = async (count: number) => (await running.records(count)).at(-1)!
  let calls = 0
  const record = () => lastRecord(++calls)

  await t.test('nothing of a restricted tenant leaves, not one byte', async t => {
    await t.rejects(closed.audio.transcriptions.create({ file: await audio(), model: 'media' }), { status: 503, code: 'no_eligible_target' })
    await t.rejects(closed.audio.transcriptions.create({ model: 'media', file: await audio() }), { status: 503, code: 'no_eligible_target' })
    await t.rejects(closed.audio.transcriptions.create({ model: 'mixed', file: await audio() }), { status: 503, code: 'no_eligible_target' })
    await t.rejects(closed.audio.speech.create({ model: 'media', input: 'Hello', voice: 'alloy' }), { status: 503, code: 'no_eligible_target' })
    await t.rejects(closed.images.generate({ model: 'media', prompt: PROMPT }), { status: 503, code: 'no_eligible_target' })
    await t.rejects(closed.moderations.create({ input: 'Hello' }), { status: 503, code: 'no_eligible_target' })
    const raised = open.audio.transcriptions.create({ file: await audio(), model: 'media' }, { headers: { 'x-torchgate-class': 'restricted' } })
    await t.rejects(raised, { status: 503, code: 'no_eligible_target' })
    t.equal(one.connections, 0)
    calls += 7
    t.match(await lastRecord(calls), { endpoint: 'audio', outcome: 'policy_denied', class: 'restricted' })
  })

  await t.test('a form whose file comes first is read, and sent whole under the name of the target', async t => {
    one.answer = json({ text: 'Hello', usage: { type: 'tokens', input_tokens: 14, input_token_details: { text_tokens: 10, audio_tokens: 4 }, output_tokens: 5, total_tokens: 19 } })
    const { text } = await open.audio.transcriptions.create({ file: await audio(), model: 'media', language: 'en', include: ['logprobs'], prompt: 'a "quoted"\r\nprompt' })
    t.equal(text, 'Hello')
    const fields = fieldsOf(last())
    t.match(last().path, '/v1/audio/transcriptions')
    t.match(fields, { model: { value: 'theirs' }, language: { value: 'en' }, 'include[]': { value: 'logprobs' }, prompt: { value: 'a "quoted"\r\nprompt' }, file: { filename: 'speech %22one%22.mp3', type: 'audio/mpeg' } })
    t.ok(Buffer.from(fields['file']!.value, 'latin1').equals(SOUND), 'the file is what was sent')
    t.equal(Number(last().headers['content-length']), last().bytes.length)
    t.match(await record(), { endpoint: 'audio', outcome: 'ok', usage: { input_tokens: 14, output_tokens: 5 }, usage_estimated: false, model: 'media' })
  })

  await t.test('a file is read from disk while it is sent', async t => {
    one.answer = json({ text: 'Hello', usage: { type: 'tokens', input_tokens: 1, output_tokens: 1, total_tokens: 2 } })
    const path = join(running.folder, 'call.mp3')
    writeFileSync(path, SOUND)
    for (const more of [{ file: createReadStream(path), model: 'media' }, { model: 'media', file: createReadStream(path) }]) {
      t.match(await open.audio.transcriptions.create(more), { text: 'Hello' })
      t.match(fieldsOf(last()), { model: { value: 'theirs' }, file: { filename: 'call.mp3' } })
      t.ok(Buffer.from(fieldsOf(last())['file']!.value, 'latin1').equals(SOUND))
    }
    calls += 2
  })

  await t.test('where the model is known, the file goes on while it comes', async t => {
    one.answer = json({ text: 'Hello', usage: { type: 'duration', seconds: 7 } })
    const before = one.heard.length
    let arrived = false
    async function * slow () {
      yield form('model', 'media') + fileHead('file')
      yield SOUND.subarray(0, 100_000)
      arrived = await eventually(() => one.heard.length > before && last().bytes.length > 100_000 && !last().isWhole)
      yield SOUND.subarray(100_000)
      yield `\r\n${form('language', 'de')}--X--\r\n`
    }
    const answer = await post(running, await running.key('open'), '/v1/audio/transcriptions', slow())
    t.match(answer, { status: 200, body: { text: 'Hello' } })
    t.ok(arrived, 'the first half was there before the second was sent')
    t.match(fieldsOf(last()), { model: { value: 'theirs' }, language: { value: 'de' } })
    t.ok(Buffer.from(fieldsOf(last())['file']!.value, 'latin1').equals(SOUND))
    t.match(await record(), { outcome: 'ok', audio_seconds: 7, usage_estimated: true })
  })

  await t.test('a hint does the same for a form whose model comes last, and must be right', async t => {
    const key = await running.key('open')
    const late = (model: string) => async function * () {
      yield fileHead('file')
      yield SOUND.subarray(0, 100_000)
      const before = one.heard.length
      await eventually(() => one.heard.length >= before && last().bytes.length > 100_000, 500)
      yield `\r\n${form('model', model)}--X--\r\n`
    }
    t.match(await post(running, key, '/v1/audio/transcriptions?model=media', late('media')()), { status: 200 })
    t.equal(last().headers['transfer-encoding'], 'chunked')
    t.match(fieldsOf(last()), { model: { value: 'theirs' } })
    t.match(await post(running, key, '/v1/audio/transcriptions', late('both')(), { 'x-torchgate-model': 'media' }), { status: 400, body: { error: { param: 'model' } } })
    t.equal(last().isWhole, false)
    calls += 2
  })

  await t.test('another target is asked where the form can be sent again, and only there', async t => {
    one.answer = json({ error: { message: 'broken' } }, 500)
    two.answer = json({ text: 'from two' })
    t.match(await open.audio.transcriptions.create({ file: await audio(), model: 'both' }), { text: 'from two' })
    t.ok(Buffer.from(fieldsOf(two.heard.at(-1)!)['file']!.value, 'latin1').equals(SOUND))
    t.match(fieldsOf(two.heard.at(-1)!), { model: { value: 'others' } })
    t.match(await record(), { outcome: 'ok', attempts: [{ error: 'backend_failed' }, { error: null }] })
    const key = await running.key('open')
    async function * single () {
      yield form('model', 'both') + fileHead('file')
      yield SOUND
      yield '\r\n--X--\r\n'
    }
    t.match(await post(running, key, '/v1/audio/transcriptions', single()), { status: 502 })
    t.match(await record(), { outcome: 'upstream_error', attempts: [{ error: 'backend_failed' }] })
    async function * unsent () {
      yield form('model', 'moved') + fileHead('file')
      yield SOUND
      yield '\r\n--X--\r\n'
    }
    t.match(await post(running, key, '/v1/audio/transcriptions', unsent()), { status: 200, body: { text: 'from two' } }, 'nothing of it was taken')
    t.match(await record(), { outcome: 'ok', attempts: [{ error: 'backend_unreachable' }, { error: null }] })
  })

  await t.test('a caller that leaves while its file comes leaves nothing behind', async t => {
    const key = await running.key('open')
    for (const head of [form('model', 'media') + fileHead('file'), fileHead('file')]) {
      const before = one.heard.length
      const leaving = new AbortController()
      async function * half () {
        yield head
        yield SOUND
        await wait(100)
        leaving.abort()
        await wait(5000, undefined, { ref: false })
      }
      await t.rejects(post(running, key, '/v1/audio/transcriptions', half(), {}, leaving.signal))
      t.match(await record(), { outcome: 'cancelled', error: 'client_closed', status: 499 })
      t.notOk(one.heard.slice(before).some(({ isWhole }) => isWhole))
    }
    t.ok(await eventually(() => one.heard.every(({ isOver }) => isOver)), 'the provider is let go')
  })

  await t.test('sound is taken no faster than its caller reads', async t => {
    let sent = 0
    one.answer = async response => {
      response.writeHead(200, { 'content-type': 'audio/wav' })
      for (; sent < 100_000_000 && !response.destroyed; sent += 1_000_000) {
        if (!response.write(Buffer.alloc(1_000_000))) await Promise.race([once(response, 'drain'), once(response, 'close')])
      }
    }
    const leaving = new AbortController()
    const answer = await open.audio.speech.create({ model: 'media', input: 'Hello', voice: 'alloy' }, { signal: leaving.signal })
    t.equal(answer.status, 200)
    for (let before = -1; before !== sent;) {
      before = sent
      await wait(250)
    }
    t.ok(sent < 50_000_000, `${sent} bytes were taken, though nobody reads`)
    leaving.abort()
    t.match(await record(), { outcome: 'cancelled' })
  })

  await t.test('sound comes back as it is, while it is made', async t => {
    one.answer = async response => {
      response.writeHead(200, { 'content-type': 'audio/mpeg' })
      response.write(SOUND.subarray(0, 1000))
      await wait(150)
      response.end(SOUND.subarray(1000))
    }
    const answer = await open.audio.speech.create({ model: 'media', input: 'Hello', voice: 'alloy', response_format: 'mp3' })
    t.equal(answer.headers.get('content-type'), 'audio/mpeg')
    t.ok(answer.headers.get('x-request-id'))
    t.equal(answer.headers.get('x-torchgate-target'), 'one/theirs')
    const reader = answer.body!.getReader()
    const first = await reader.read()
    t.equal(first.value?.length, 1000, 'the beginning is not held back')
    const pieces = [first.value!]
    for (let next = await reader.read(); !next.done; next = await reader.read()) pieces.push(next.value)
    t.ok(Buffer.concat(pieces).equals(SOUND))
    t.match(JSON.parse(last().bytes.toString()), { model: 'theirs', input: 'Hello', voice: 'alloy' })
    t.match(await record(), { endpoint: 'audio', outcome: 'ok', usage_estimated: true })
  })

  await t.test('sound that breaks off ends without its end', async t => {
    one.answer = async response => {
      response.writeHead(200, { 'content-type': 'audio/mpeg', 'content-length': String(SOUND.length) })
      response.write(SOUND.subarray(0, 1000))
      await wait(50)
      response.destroy()
    }
    const answer = await open.audio.speech.create({ model: 'media', input: 'Hello', voice: 'alloy' })
    await t.rejects(answer.arrayBuffer())
    t.match(await record(), { outcome: 'upstream_error', error: 'backend_interrupted' })
  })

  await t.test('events pass with their names, and what they used is known', async t => {
    const done = { type: 'transcript.text.done', text: 'Hello "usage": {"input_tokens": 1}', usage: { type: 'tokens', input_tokens: 30, output_tokens: 9, total_tokens: 39, input_token_details: { text_tokens: 0, audio_tokens: 30 } } }
    one.answer = events({ type: 'transcript.text.delta', delta: 'Hello' }, done, '[DONE]')
    const seen: string[] = []
    for await (const event of await open.audio.transcriptions.create({ file: await audio(), model: 'media', stream: true })) seen.push(event.type)
    t.same(seen, ['transcript.text.delta', 'transcript.text.done'])
    t.match(fieldsOf(last()), { stream: { value: 'true' } })
    t.match(await record(), { stream: true, usage: { input_tokens: 30, output_tokens: 9 }, usage_estimated: false })

    const image = 'A'.repeat(3_000_000)
    one.answer = events({ type: 'image_generation.partial_image', b64_json: image, partial_image_index: 0 }, { type: 'image_generation.completed', b64_json: image, usage: { input_tokens: 50, output_tokens: 1000, total_tokens: 1050, input_tokens_details: { text_tokens: 50, image_tokens: 0 } } })
    const lengths: number[] = []
    for await (const event of await open.images.generate({ model: 'media', prompt: PROMPT, stream: true, partial_images: 1 })) lengths.push(event.b64_json.length)
    t.same(lengths, [3_000_000, 3_000_000])
    t.match(await record(), { endpoint: 'images', stream: true, usage: { input_tokens: 50, output_tokens: 1000 } })

    one.answer = bytes('text/event-stream', 'event: speech.audio.delta\ndata: {"type":"speech.audio.delta","audio":"AAAA"}\n\nevent: speech.audio.done\ndata: {"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}\n\n')
    const answer = await open.audio.speech.create({ model: 'media', input: 'Hello', voice: 'alloy', stream_format: 'sse' })
    t.match(await answer.text(), /^event: speech\.audio\.delta\ndata: /)
    t.match(await record(), { usage: { input_tokens: 3, output_tokens: 4 } })
  })

  await t.test('an error among the events is one of the call', async t => {
    one.answer = events({ error: { message: 'overloaded', type: 'server_error', code: null, param: null } })
    two.answer = events({ type: 'image_generation.completed', b64_json: 'AAAA', usage: { input_tokens: 1, output_tokens: 2 } })
    const seen: string[] = []
    for await (const event of await open.images.generate({ model: 'both', prompt: PROMPT, stream: true })) seen.push(event.type)
    t.same(seen, ['image_generation.completed'], 'before the first event another target answers')
    t.match(await record(), { attempts: [{ error: 'backend_failed' }, { error: null }] })
    one.answer = events({ type: 'image_generation.partial_image', b64_json: 'AAAA' }, { error: { message: 'overloaded', type: 'server_error', code: null, param: null } })
    const stream = await open.images.generate({ model: 'both', prompt: PROMPT, stream: true })
    await t.rejects(async () => { for await (const event of stream) seen.push(event.type) })
    t.same(seen.at(-1), 'image_generation.partial_image')
    t.match(await record(), { outcome: 'upstream_error', error: 'backend_interrupted' })
  })

  await t.test('images, edits, variations, translations and moderations', async t => {
    one.answer = json({ created: 1, data: [{ b64_json: 'AAAA' }], usage: { input_tokens: 5, output_tokens: 7, total_tokens: 12 } })
    t.match(await open.images.generate({ model: 'media', prompt: PROMPT, n: 1 }), { data: [{ b64_json: 'AAAA' }] })
    t.match(await record(), { endpoint: 'images', usage: { input_tokens: 5, output_tokens: 7 } })
    t.match(await open.images.edit({ model: 'media', prompt: PROMPT, image: [await audio(), await audio()] }), { data: [{ b64_json: 'AAAA' }] })
    t.match(last().path, '/v1/images/edits')
    t.match(await open.images.createVariation({ model: 'media', image: await audio() }), { data: [{ b64_json: 'AAAA' }] })
    t.match(last().path, '/v1/images/variations')
    one.answer = bytes('text/plain; charset=utf-8', '1\n00:00:00,000 --> 00:00:01,000\nHello\n')
    t.match(await open.audio.translations.create({ model: 'media', file: await audio(), response_format: 'srt' }), '00:00:00')
    t.match(last().path, '/v1/audio/translations')
    one.answer = json({ id: 'modr-1', model: 'judge', results: [{ flagged: false, categories: {}, category_scores: {} }] })
    t.match(await open.moderations.create({ input: ['Hello', PROMPT] }), { results: [{ flagged: false }] })
    t.match(JSON.parse(last().bytes.toString()), { model: 'judge', input: ['Hello', PROMPT] })
    calls += 4
    t.match(await lastRecord(calls), { endpoint: 'moderations', outcome: 'ok', usage_estimated: true })
  })

  await t.test('where nobody serves it, the answer is 404', async t => {
    t.match(await refusal(open.audio.speech.create({ model: 'pilot', input: 'Hello', voice: 'alloy' })), { status: 404, code: 'not_served', param: 'model', message: /pilot.*POST \/v1\/audio\/speech/ })
    t.match(await refusal(open.audio.transcriptions.create({ model: 'pilot', file: await audio() })), { status: 404, code: 'not_served' })
    one.answer = json({ error: { message: 'Not Found' } }, 404)
    t.match(await refusal(open.images.generate({ model: 'media', prompt: PROMPT })), { status: 404, code: 'not_served' })
    one.answer = bytes('text/html', '<h1>Hello</h1>')
    t.match(await refusal(open.audio.speech.create({ model: 'media', input: 'Hello', voice: 'alloy' })), { status: 502, code: 'backend_invalid_answer' })
    one.answer = json({ text: 'Hello' })
    t.match((await open.audio.transcriptions.create({ model: 'mixed', file: await audio() })).text, 'Hello', 'a target that cannot is passed over')
    calls += 5
    t.match(await lastRecord(calls), { rejected: [{ target: 'chats/pilot', reason: 'capability' }] })
  })

  await t.test('bad input is refused by name', async t => {
    const before = one.heard.length
    const key = await running.key('open')
    const told: [string, Record<string, unknown>, string][] = [
      ['/v1/moderations', {}, 'input'], ['/v1/moderations', { input: [{ type: 'image_url', image_url: { url: 'https://a/b.png' } }] }, 'input[0].image_url.url'],
      ['/v1/moderations', { input: 7 }, 'input'], ['/v1/audio/speech', { model: 'media', voice: 'alloy' }, 'input'], ['/v1/audio/speech', { model: 'media', input: 'a', speed: 9 }, 'speed'],
      ['/v1/audio/speech', { model: 'media', input: 'a', api_base: 'x' }, 'api_base'], ['/v1/audio/speech', { model: 'media', input: 'a', ref_audio: 'https://a/b' }, 'ref_audio'],
      ['/v1/audio/speech', { input: 'a' }, 'model'], ['/v1/images/generations', { model: 'media' }, 'prompt'], ['/v1/images/generations', { model: 'media', prompt: 'a', n: 11 }, 'n'],
      ['/v1/images/generations', { model: 'media', prompt: 'a', image: ['http://10.0.0.1/'] }, 'image[0]']
    ]
    for (const [path, body, param] of told) {
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
      const answer = await fetch(running.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
      t.match({ status: answer.status, body: await answer.json() }, { status: 400, body: { error: { param } } }, `${path} ${param}`)
    }
    const file = `${fileHead('file')}abc\r\n`
    const forms: [string, string, number, string | null][] = [
      ['no model', `${file}--X--\r\n`, 400, 'model'], ['no file', `${form('model', 'media')}--X--\r\n`, 400, 'file'],
      ['another file', `${form('model', 'media')}${form('x', '1')}--X--\r\n`, 400, 'file'],
      ['an address', `${form('url', 'https://a/b.mp3')}${form('model', 'media')}${file}--X--\r\n`, 400, 'url'],
      ['of the operator', `${form('api_base', 'x')}${form('model', 'media')}${file}--X--\r\n`, 400, 'api_base'],
      ['two models', `${form('model', 'media')}${form('model', 'both')}${file}--X--\r\n`, 400, 'model'],
      ['cut off', `${form('temperature', '1')}${fileHead('file')}abc`, 400, null], ['no form', 'hello', 400, null],
      ['too many fields', `${form('a', '1').repeat(300)}${form('model', 'media')}${file}--X--\r\n`, 400, null],
      ['too large', `${fileHead('file')}${'x'.repeat(1_200_000)}\r\n${form('model', 'media')}--X--\r\n`, 413, null]
    ]
    for (const [what, body, status, param] of forms) {
      t.match(await post(running, key, '/v1/audio/transcriptions', Readable.from([body])), { status, body: { error: { param } } }, what)
    }
    t.match(await post(running, key, '/v1/audio/speech', Readable.from([forms[0]![1]])), { status: 415 })
    const huge = await toFile(Buffer.alloc(3_000_000), 'a.mp3')
    t.match(await refusal(open.audio.transcriptions.create({ model: 'media', file: huge })), { status: 413, code: 'request_too_large' }, 'told by its length')
    const json415 = await fetch(`${running.url}/v1/audio/transcriptions`, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: '{}' })
    t.equal(json415.status, 415)
    t.equal(one.heard.length, before, 'none of it was sent on')
    const odd = ['constructor', '__proto__', 'toString[]'].map(name => form(name, 'https')).join('')
    t.match(await post(running, key, '/v1/audio/transcriptions', Readable.from([`${odd}${form('model', 'media')}${file}--X--\r\n`])), { status: 200 }, 'names of no meaning')
    t.same(readdirSync(join(running.folder, 'data')).filter(name => name.endsWith('.tmp')), [], 'no form is left on disk')
  })
})

const form = (name: string, value: string) => `--X\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
const fileHead = (name: string) => `--X\r\nContent-Disposition: form-data; name="${name}"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n`

/** A form as it is written. */
async function post ({ url }: Running, key: string, path: string, body: AsyncIterable<string | Buffer>, more: Record<string, string> = {}, signal: AbortSignal | null = null) {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'multipart/form-data; boundary=X', ...more }
  const stream = Readable.toWeb(Readable.from(body, { objectMode: false })) as ReadableStream
  const answer = await fetch(url + path, { method: 'POST', headers, body: stream, duplex: 'half', signal } as RequestInit)
  return { status: answer.status, body: await answer.json() as Record<string, unknown> }
}
