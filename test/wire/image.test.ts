import fc from 'fast-check'
import { test } from 'tap'
import { base64Reader, imageHead } from '../../src/wire/image.ts'
import { faultOfImage } from '../../src/wire/pictures.ts'
import { dataUrl, DOT, gif, jpeg, png, webp } from './pictures.ts'

const headOf = (bytes: Buffer) => imageHead(base64Reader(`data:,${bytes.toString('base64')}`, 6))

test('every kind tells its size', async t => {
  t.same(headOf(png(640, 480)), { type: 'image/png', width: 640, height: 480 })
  t.same(headOf(gif(640, 480)), { type: 'image/gif', width: 640, height: 480 })
  for (const kind of ['VP8 ', 'VP8L', 'VP8X'] as const) t.same(headOf(webp(640, 480, kind)), { type: 'image/webp', width: 640, height: 480 }, kind)
  for (const frame of [0xc0, 0xc2]) t.same(headOf(jpeg(640, 480, [14], frame)), { type: 'image/jpeg', width: 640, height: 480 })
  t.same(headOf(jpeg(640, 480, [14, 65_533, 65_533, 2, 9_001])), { type: 'image/jpeg', width: 640, height: 480 }, 'behind a photograph of its own')
})

test('what has no whole header has no size', async t => {
  for (const whole of [png(1, 1), gif(1, 1), jpeg(1, 1), webp(1, 1, 'VP8X')]) {
    t.equal(headOf(whole.subarray(0, 9)), null)
    t.equal(headOf(Buffer.concat([Buffer.from('x'), whole])), null)
  }
  t.equal(headOf(png(0, 5)), null)
  t.equal(headOf(jpeg(5, 5, Array.from({ length: 300 }, () => 2))), null, 'more segments than anyone writes')
  t.equal(headOf(Buffer.from('<svg width="1" height="1"/>')), null)
  t.equal(headOf(Buffer.alloc(0)), null)
})

test('no bytes make it throw or wait', async t => {
  const starts = ['', '\x89PNG\r\n\x1a\n', 'GIF89a', '\xff\xd8\xff', 'RIFFxxxxWEBPVP8L'].map(text => Buffer.from(text, 'latin1'))
  fc.assert(fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 200 }), (start, rest) => {
    const head = headOf(Buffer.concat([start, rest]))
    return head === null || (head.width > 0 && head.height > 0)
  }))
  const huge = Buffer.from(`data:image/png;base64,${DOT}${'A'.repeat(20_000_000)}`).toString('latin1')
  const startMs = performance.now()
  t.equal(faultOfImage(huge, { maxBytes: 100_000_000, maxPixels: 1, maxCount: 1 }), null)
  t.ok(performance.now() - startMs < 20, 'only the header is decoded')
})

test('bounds are bounds of bytes and of pixels', async t => {
  const limits = { maxBytes: png(1, 1).length, maxPixels: 100, maxCount: 1 }
  const says = (url: string) => faultOfImage(url, limits)?.says('url')
  t.equal(says(dataUrl('png', png(10, 10))), undefined)
  t.match(says(dataUrl('png', png(10, 11))), /10 x 11 pixels, and 100 are allowed/)
  t.match(says(dataUrl('png', png(65_536, 65_536))), /pixels/)
  t.match(says(dataUrl('png', Buffer.concat([png(1, 1), Buffer.alloc(3)]))), /bytes, and \d+ are allowed/)
  t.match(says(dataUrl('bmp', png(1, 1))), /image\/png, image\/jpeg/)
  t.match(says(dataUrl('png', Buffer.from('no image at all'))), /cannot be read/)
  t.equal(says(dataUrl('jpeg', png(1, 1))), undefined, 'a wrong name is the business of whoever decodes it')
  t.equal(says(`data:image/png;name=a.png;base64,${DOT}`), undefined)
})
