import { Readable } from 'node:stream'
import fc from 'fast-check'
import { test } from 'tap'
import { validate, type ValidateParts } from '../../src/batches/validate.ts'
import { GatewayError } from '../../src/errors.ts'

const PARTS: ValidateParts = {
  endpoint: '/v1/chat/completions',
  maxLines: 1000,
  maxLineBytes: 10_000,
  assertModel: model => { if (model === 'none') throw new GatewayError('model_not_found', 'There is none.') }
}
const line = (id: string, content = 'x', model = 'm') =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/chat/completions', body: { model, messages: [{ role: 'user', content }] } })
const inPieces = (bytes: Buffer, size: number) => Readable.from(Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size)))
const check = (text: string, parts: Partial<ValidateParts> = {}, size = 7) => validate(inPieces(Buffer.from(text), size), { ...PARTS, ...parts }, AbortSignal.timeout(10_000))

test('every line is found where it lies, however the bytes come', async t => {
  const ends = fc.constantFrom('\n', '\r\n', '\n\n', ' \n', '\n \r\n')
  const inputs = fc.array(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 20 }), ends), { minLength: 1, maxLength: 20 })
  await fc.assert(fc.asyncProperty(inputs, fc.integer({ min: 1, max: 200 }), fc.boolean(), async (given, size, isMarked) => {
    const text = (isMarked ? '\ufeff' : '') + given.map(([content, end], at) => line(`line-${at}`, content) + end).join('')
    const bytes = Buffer.from(text)
    const checked = await validate(inPieces(bytes, size), PARTS, AbortSignal.timeout(10_000))
    if (checked.kind === 'bad') throw new Error(JSON.stringify(checked))
    if (checked.lines.length !== given.length) return false
    return checked.lines.every(({ customId, byteOffset, byteLength, line: number }) => {
      const [content] = given[Number(customId.slice('line-'.length))]!
      const found = JSON.parse(bytes.subarray(byteOffset, byteOffset + byteLength).toString().replace(/^\ufeff/, ''))
      return found.custom_id === customId && found.body.messages[0].content === content.toWellFormed() &&
        number === text.slice(0, text.indexOf(JSON.stringify(customId))).split('\n').length
    })
  }), { numRuns: 200 })
})

test('requests of one model come together, and those that begin alike', async t => {
  const checked = await check([line('1', 'b', 'n'), line('2', 'z'), line('3', 'a', 'n'), line('4', 'a'), line('5', 'z')].join('\n'))
  t.match(checked, { kind: 'good', model: null })
  t.same(checked.kind === 'good' && checked.lines.map(({ customId, place }) => [customId, place]), [['4', 0], ['2', 1], ['5', 2], ['3', 3], ['1', 4]])
  t.match(await check(line('1')), { kind: 'good', model: 'm' })
})

test('a line that is too long is told, and the rest is read', async t => {
  const checked = await check(`${line('1', 'x'.repeat(20_000))}\n${line('2', 'x', 'none')}\n`, {}, 1000)
  t.match(checked, { kind: 'bad', complaints: [{ code: 'line_too_long', line: 1 }, { code: 'model_not_found', line: 2, param: 'body.model' }] })
})

test('no more is read than has to be told', async t => {
  const checked = await check(Array.from({ length: 500 }, () => '{').join('\n'), {}, 50)
  t.equal(checked.kind === 'bad' && checked.complaints.length, 100)
  t.match(await check(Array.from({ length: 12 }, (_, at) => line(`${at}`)).join('\n'), { maxLines: 10 }), { complaints: [{ code: 'too_many_tasks' }] })
  t.match(await check('\n \n'), { complaints: [{ code: 'empty_file' }] })
})

test('no complaint repeats what a line says', async t => {
  const secret = 'hunter2 is the word'
  const lines = [`{"custom_id": "${secret}"`, JSON.stringify({ custom_id: 'a', method: secret, url: secret, body: {} }), line(secret), line(secret), `"${secret}"`, JSON.stringify({ [secret]: 1 })]
  const checked = await check(lines.join('\n'))
  t.equal(checked.kind, 'bad')
  t.notMatch(JSON.stringify(checked), /hunter2/)
})

test('validation ends when it is to end', async t => {
  await t.rejects(validate(inPieces(Buffer.from(line('1')), 10), PARTS, AbortSignal.abort(new GatewayError('draining', 'Enough.'))), { code: 'draining' })
})
