/** An independent opinion on whether a value is valid. */
import { runInThisContext } from 'node:vm'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

const ajv = new Ajv2020({ strict: false, validateSchema: false, multipleOfPrecision: 6, logger: false, ownProperties: true })
addFormats.default(ajv)

/** Words of draft 4 and OpenAPI, and a name that the judge takes for something else. */
export const isBeyondJudge = (schema: unknown): boolean => /"exclusiveMinimum":true|additionalItems|__proto__|"nullable"/.test(JSON.stringify(schema))

/** @returns what is wrong with the value, null when nothing is */
export function judge (schema: unknown): (value: unknown) => string | null {
  const validate = ajv.compile(schema as object)
  if (typeof schema === 'object') ajv.removeSchema(schema as object)
  return value => validate(value) ? null : ajv.errorsText(validate.errors)
}

/**
 * JSON.parse of V8 14.6 takes an escaped name of one character for a backslash, once it has seen a backslash as a name
 * in that place: `{"\\":0}`, then `{"\n":0}`. It is right about what is JSON and what is not.
 */
export function parse (text: string): unknown {
  JSON.parse(text)
  return runInThisContext(`(${text})`)
}
