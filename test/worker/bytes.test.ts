import { test } from 'tap'
import { bytesOfPiece } from '../../src/worker/bytes.ts'

test('a piece of a byte-level vocabulary is its bytes', async t => {
  t.strictSame(bytesOfPiece('Ġhello'), [...Buffer.from(' hello')])
  t.strictSame(bytesOfPiece('âĤ¬'), [...Buffer.from('€')])
  t.strictSame(bytesOfPiece('âĤ'), [0xE2, 0x82])
  t.strictSame(bytesOfPiece('Ċ'), [10])
  t.strictSame(bytesOfPiece('Ń'), [0xAD])
})

test('so is a byte of SentencePiece, and other pieces are none', async t => {
  t.strictSame(bytesOfPiece('<0xE2>'), [0xE2])
  t.equal(bytesOfPiece('▁hello'), null)
  t.equal(bytesOfPiece('日'), null)
})
