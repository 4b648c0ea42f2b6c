/** What a request says of the form of its answer. */
import { GatewayError } from '../errors.ts'
import { jsonObjectGrammar } from './grammar/compile.ts'
import { grammarOf } from './grammar/recent.ts'

export interface Format {
  /** GBNF with a rule `root`. */
  readonly grammar: string
  /** Where in the request it comes from. */
  readonly param: string
}

type Body = Readonly<Record<string, unknown>>

const PARAM = 'response_format'

/**
 * `json_object` may have a `schema`, as on other local servers.
 * @returns null for text
 * @throws GatewayError where the form cannot be honoured; `param` says which part
 */
export function readFormat (value: unknown): Format | null {
  if (value === undefined || value === null) return null
  if (!isObject(value)) throw invalid(PARAM, 'an object')
  switch (value['type']) {
    case 'text': return null
    case 'json_object': return value['schema'] === undefined || value['schema'] === null
      ? { grammar: jsonObjectGrammar().grammar, param: PARAM }
      : { grammar: grammarOf(value['schema'], { path: `${PARAM}.schema` }).grammar, param: `${PARAM}.schema` }
    case 'json_schema': return readSchema(value['json_schema'], `${PARAM}.json_schema`)
    default: throw invalid(`${PARAM}.type`, '"text", "json_object" or "json_schema"')
  }
}

function readSchema (value: unknown, path: string): Format {
  if (!isObject(value)) throw invalid(path, 'an object')
  const { schema, strict } = value
  if (schema === undefined || schema === null) {
    throw new GatewayError('missing_required_parameter', `${path}.schema is missing: local models need to know what to hold the answer to.`, { param: `${path}.schema` })
  }
  if (strict !== undefined && strict !== null && typeof strict !== 'boolean') throw invalid(`${path}.strict`, 'true or false')
  return { grammar: grammarOf(schema, { strict: strict === true, path: `${path}.schema` }).grammar, param: `${path}.schema` }
}

function isObject (value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid (param: string, expected: string): GatewayError {
  return new GatewayError('invalid_value', `${param}: expected ${expected}.`, { param })
}
