/** An independent opinion on whether a value is valid. */
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

const ajv = new Ajv2020({ strict: false, validateSchema: false, multipleOfPrecision: 6, logger: false, ownProperties: true })
addFormats.default(ajv)

/** @returns what is wrong with the value, null when nothing is */
export function judge (schema: unknown): (value: unknown) => string | null {
  const validate = ajv.compile(schema as object)
  if (typeof schema === 'object') ajv.removeSchema(schema as object)
  return value => validate(value) ? null : ajv.errorsText(validate.errors)
}
