/** Why a schema cannot be taken, said where it stands. */
import { GatewayError } from '../../errors.ts'

/** A place in a schema, as OpenAI writes it: `response_format.json_schema.schema.properties.name`. */
export type Path = string

export function below (path: Path, key: string | number): Path {
  if (typeof key === 'number') return `${path}[${key}]`
  return /^[\w$-]+$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`
}

/** The schema means something, but a local model cannot be held to it; another backend may know how. */
export function unsupported (path: Path, says: string): GatewayError {
  return new GatewayError('unsupported_value', `${path}: ${says}`, { param: path })
}

/** The schema is no JSON Schema. */
export function invalid (path: Path, expected: string): GatewayError {
  return new GatewayError('invalid_value', `${path}: expected ${expected}.`, { param: path })
}
