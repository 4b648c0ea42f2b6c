/** The JSON Schema of what a check lets pass: made by the words that make the check, so that the two cannot say different things. */
import type { Check } from './check.ts'

export type Schema = Readonly<Record<string, unknown>>

/** Null for what is never let pass. */
type Recipe = () => Schema | null

const RECIPES = new WeakMap<Check, Recipe>()

/** Gives the check back. The recipe is used when somebody asks for the schema, which most processes never do. */
export function withSchema<C extends Check> (check: C, recipe: Recipe): C {
  RECIPES.set(check, recipe)
  return check
}

/** A check that says nothing of itself lets anything pass. */
export function schemaOf (check: Check): Schema | null {
  const recipe = RECIPES.get(check)
  return recipe === undefined ? {} : recipe()
}

/** Members that nobody may send are left out; optional ones may be null, which means their default. */
export function objectSchema (members: Readonly<Record<string, Check>>, required: readonly string[]): Schema {
  const properties: Record<string, Schema> = {}
  for (const [name, check] of Object.entries(members)) {
    const schema = schemaOf(check)
    if (schema !== null) properties[name] = required.includes(name) ? schema : orNull(schema)
  }
  return { type: 'object', properties, ...required.length > 0 && { required } }
}

function orNull (schema: Schema): Schema {
  const { type, enum: names } = schema
  if (typeof type === 'string') return { ...schema, type: [type, 'null'], ...Array.isArray(names) && { enum: [...names as unknown[], null] } }
  return Object.keys(schema).length === 0 ? schema : { anyOf: [schema, { type: 'null' }] }
}

/** One of several objects, told apart by the value of a member. */
export function variantSchema (tag: string, kinds: Readonly<Record<string, Check>>): Schema {
  const oneOf = Object.entries(kinds).map(([kind, check]) => {
    const { properties = {}, required = [] } = schemaOf(check) as { properties?: object, required?: string[] }
    return { type: 'object', properties: { [tag]: { const: kind }, ...properties }, required: [tag, ...required] }
  })
  return { oneOf }
}

/** Bounds beyond what JSON numbers hold say nothing. */
export function numberSchema (type: 'integer' | 'number', least: number, most: number): Schema {
  return { type, ...Math.abs(least) < Number.MAX_SAFE_INTEGER && { minimum: least }, ...Math.abs(most) < Number.MAX_SAFE_INTEGER && { maximum: most } }
}
