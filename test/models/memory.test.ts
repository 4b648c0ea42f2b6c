import { test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { readGguf } from '../../src/models/gguf.ts'
import { estimateBytes } from '../../src/models/memory.ts'

const head = { fileBytes: 1000, cacheBytesPerToken: 10, contextTokens: 2048, vocabularySize: 0 }
const plan = { slots: 1, contextTokens: 1024, batchTokens: 512 }

test('each slot costs a cache of its own, as long as the context that there is', async t => {
  const one = estimateBytes(head, plan)
  t.equal(estimateBytes(head, { ...plan, slots: 3 }) - one, 2 * 1024 * 10)
  t.equal(estimateBytes(head, { ...plan, contextTokens: 100_000 }) - one, 1024 * 10, 'no more than the model was trained for')
  t.equal(estimateBytes({ ...head, fileBytes: 5000 }, plan) - one, 4000)
})

test('the cache of the built-in model is told from its head', async t => {
  const { cacheBytesPerToken, fileBytes } = readGguf(BUILTIN_MODEL.path)
  t.equal(cacheBytesPerToken, 6144)
  t.equal(fileBytes, 5_440_768)
})
