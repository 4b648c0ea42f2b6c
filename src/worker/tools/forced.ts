/** The grammar of calls, in the form of the model's family, with arguments that fit their schemas. */
import { GatewayError } from '../../errors.ts'
import { literal, prefixed } from '../grammar/join.ts'
import { grammarOf } from '../grammar/recent.ts'
import type { Family } from './family.ts'
import type { Tool, ToolUse } from './use.ts'

/** Of all tools together; one schema is bounded by the compiler. */
const MAX_CHARACTERS = 1024 * 1024

/**
 * @returns GBNF with the rule `root`
 * @throws GatewayError when a schema cannot be honoured; `param` says where it stands
 */
export function callsGrammar ({ forced }: Family, { offered, isParallel }: ToolUse): string {
  const { before, after, between } = forced
  const rules = offered.map((tool, i) => {
    const around = forced.call(tool.name)
    return `call-${i} ::= ${literal(around.before)} arguments-${i}-root ${literal(around.after)}\n${prefixed(argumentsGrammar(tool), `arguments-${i}-`)}`
  })
  const more = isParallel && between !== null ? `(${literal(between)} call)*` : ''
  const grammar = [
    `root ::= ${literal(before)} call ${more} ${literal(after)}`,
    `call ::= ${offered.map((_, i) => `call-${i}`).join(' | ')}`,
    ...rules
  ].join('\n')
  if (grammar.length > MAX_CHARACTERS) {
    throw new GatewayError('unsupported_value', `tools: the grammar of these schemas has ${grammar.length} characters, at most ${MAX_CHARACTERS} are taken; offer fewer tools.`, { param: 'tools' })
  }
  return grammar
}

function argumentsGrammar ({ parameters, path, isStrict }: Tool): string {
  // Without parameters a function takes none; a schema without a type is that of an object, as on the wire.
  const schema = parameters ?? { properties: {}, additionalProperties: false }
  if (typeof schema !== 'object' || Array.isArray(schema)) throw new GatewayError('invalid_value', `${path}: expected a JSON Schema of the type object.`, { param: path })
  return grammarOf({ type: 'object', ...schema }, { strict: isStrict, path }).grammar
}
