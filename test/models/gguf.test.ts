import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { readGguf } from '../../src/models/gguf.ts'

const pilot = readFileSync(BUILTIN_MODEL.path)

/** A GGUF head written by hand: `counts` as they are, then the bytes given. */
function head (tensors: bigint, pairs: bigint, ...rest: readonly Buffer[]): Buffer {
  const start = Buffer.alloc(24)
  start.write('GGUF')
  start.writeUInt32LE(3, 4)
  start.writeBigUInt64LE(tensors, 8)
  start.writeBigUInt64LE(pairs, 16)
  return Buffer.concat([start, ...rest])
}

const u32 = (value: number): Buffer => { const bytes = Buffer.alloc(4); bytes.writeUInt32LE(value); return bytes }
const u64 = (value: bigint): Buffer => { const bytes = Buffer.alloc(8); bytes.writeBigUInt64LE(value); return bytes }
const text = (value: string): Buffer => Buffer.concat([u64(BigInt(Buffer.byteLength(value))), Buffer.from(value)])

function faultOf (file: string): string {
  try {
    readGguf(file)
  } catch (thrown) {
    return (thrown as Error).message
  }
  return 'none'
}

test('the head of the built-in model says what it is', async t => {
  const { chatTemplates, ...facts } = readGguf(BUILTIN_MODEL.path)
  t.match(facts, {
    version: 3, architecture: 'llama', name: 'torchgate-pilot', license: 'apache-2.0', contextTokens: BUILTIN_MODEL.contextTokens,
    fileType: 7, parameters: 5_049_600, vocabularySize: 2048, longestTokenBytes: 16, splits: 1
  })
  t.equal(chatTemplates.get('default'), readFileSync(new URL('../../models/pilot/train/chat_template.jinja', import.meta.url), 'utf8'))
})

test('templates with a name are kept by their name', async t => {
  const file = join(t.testdir(), 'named.gguf')
  const pairs = [['general.architecture', 'llama'], ['tokenizer.chat_template', 'plain'], ['tokenizer.chat_template.tool_use', 'with tools']] as const
  writeFileSync(file, head(0n, 3n, ...pairs.flatMap(([key, value]) => [text(key), u32(8), text(value)])))
  t.strictSame([...readGguf(file).chatTemplates], [['default', 'plain'], ['tool_use', 'with tools']])
})

test('what is no whole GGUF file is refused at once, with its name and its fault', async t => {
  const bad: Record<string, [Buffer, RegExp]> = {
    empty: [Buffer.alloc(0), /not a GGUF file: 0 bytes/],
    garbage: [Buffer.from('#!/bin/sh\n'.repeat(100)), /not a GGUF file/],
    'big-endian': [Buffer.concat([Buffer.from('GGUF'), Buffer.from([0, 0, 0, 3]), Buffer.alloc(16)]), /big-endian/],
    'from the future': [Buffer.concat([Buffer.from('GGUF'), u32(9), Buffer.alloc(16)]), /GGUF version 9/],
    'of 2^63 entries': [head(0n, 2n ** 63n), /metadata entries: a count of 9223372036854775808/],
    'of 2^63 tensors': [head(2n ** 63n, 0n), /tensors: a count of/],
    'with a key of 2^63 bytes': [head(0n, 1n, u64(2n ** 63n)), /a metadata key: a count of/],
    'with an array of 2^63 strings': [head(0n, 1n, text('k'), u32(9), u32(8), u64(2n ** 63n)), /k: a count of/],
    'with an array of more numbers than bytes': [head(0n, 1n, text('k'), u32(9), u32(4), u64(1000n)), /k: a count of 1000, at most 2 can/],
    'with arrays in arrays in arrays': [head(0n, 1n, text('k'), u32(9), ...Array.from({ length: 9 }, () => [u32(9), u64(1n)]).flat(), Buffer.alloc(99)), /deeper than 4/],
    'with a value of unknown type': [head(0n, 1n, text('k'), u32(77), Buffer.alloc(64)), /unknown value type 77/],
    'without an architecture': [head(0n, 1n, text('k'), u32(4), u32(1)), /general.architecture is missing/],
    'cut in its head': [pilot.subarray(0, 20_000), /cut short/],
    'cut in its tensor table': [pilot.subarray(0, 60_000), /cut short/],
    'cut in its tensors': [pilot.subarray(0, 4_000_000), /cut short: 4000000 bytes, but the last tensor begins at/]
  }
  const folder = t.testdir()
  for (const [what, [bytes, expected]] of Object.entries(bad)) {
    const file = join(folder, `${what}.gguf`)
    writeFileSync(file, bytes)
    const before = process.cpuUsage()
    const message = faultOf(file)
    const { user, system } = process.cpuUsage(before)
    t.match(message, expected, `a file ${what}`)
    t.ok(message.startsWith(file), 'names the file')
    t.ok(user + system < 100_000, `refused in ${(user + system) / 1000} ms`)
  }
})

test('every possible cut of the head is refused, and none of them is read beyond its end', async t => {
  const file = join(t.testdir(), 'cut.gguf')
  for (let bytes = 0; bytes < 3000; bytes += 97) {
    writeFileSync(file, pilot.subarray(0, bytes))
    t.throws(() => readGguf(file), /cut short|not a GGUF file|a count of/)
  }
})

test('a file that is not there is refused by name', async t => {
  t.throws(() => readGguf(join(t.testdir(), 'nobody.gguf')), /ENOENT.*nobody\.gguf/)
})
