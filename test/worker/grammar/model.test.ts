import fc from 'fast-check'
import tap, { test } from 'tap'
import { completion, user, workerOnPort } from '../spawned.ts'
import { judge, parse } from './judge.ts'
import { documents, type Schema } from './schemas.ts'

const SLOTS = 16
const SCHEMAS = 240
const { url } = await workerOnPort(tap, '--slots', String(SLOTS), '--context-tokens', '512')

const VALUES = new Set(['enum', 'const', 'required', 'default'])

/** The same with room for a short value only, so that a small model comes to an end. @param isPart of an allOf, which others add members to */
function short (schema: unknown, isPart = false): unknown {
  if (typeof schema !== 'object' || schema === null) return schema
  if (Array.isArray(schema)) return schema.map(one => short(one, isPart))
  const members = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, VALUES.has(name) ? value : short(value, name === 'allOf')])) as Schema
  const { type, minLength = 0, minItems = 0, prefixItems = [], format } = members
  if (type === 'string' && format === undefined) members['maxLength'] ??= Math.max(5, Number(minLength))
  if (type === 'array') members['maxItems'] ??= Math.max(1, Number(minItems), (prefixItems as unknown[]).length)
  if (type === 'object' && !isPart) members['additionalProperties'] ??= false
  return members
}

test('for hundreds of generated schemas, what the model writes is JSON that the schema allows', async t => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const schemas = fc.sample(documents, { numRuns: SCHEMAS, seed }).map(({ schema }) => short(schema))
  const waiting = schemas.entries()
  let complete = 0
  await Promise.all(Array.from({ length: SLOTS }, async () => {
    for (const [i, schema] of waiting) {
      const { choices: [choice] } = await completion(url, {
        messages: user('Answer in JSON.'), temperature: 1, seed: i, max_tokens: 64,
        response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } }
      })
      const { message: { content }, finish_reason: reason } = choice!
      if (reason !== 'stop') continue
      complete++
      const complaint = judge(schema)(parse(content))
      if (complaint !== null) t.fail(`seed ${seed}, ${JSON.stringify(schema)}: ${content}: ${complaint}`)
    }
  }))
  t.ok(complete > SCHEMAS / 2, `${complete} of ${SCHEMAS} are complete (seed ${seed})`)
})
