/**
 * The grammars that were asked for last. Agents send the same schemas with every call, and while one is compiled, which
 * may take half a second, no answer of the worker goes on.
 */
import { createHash } from 'node:crypto'
import { compileSchema, type CompileOptions, type Grammar } from './compile.ts'

/** Of 256 KiB at most each. */
const MOST = 32

const recent = new Map<string, Grammar>()

/** As `compileSchema`, once for the same schema at the same place. What is refused is not remembered. */
export function grammarOf (schema: unknown, options: CompileOptions = {}): Grammar {
  const key = createHash('sha256').update(JSON.stringify([schema, options])).digest('base64')
  const grammar = recent.get(key) ?? compileSchema(schema, options)
  recent.delete(key)
  recent.set(key, grammar)
  if (recent.size > MOST) recent.delete(recent.keys().next().value!)
  return grammar
}
