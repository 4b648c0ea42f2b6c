/** Tools, the choice among them, and their deprecated forerunners. Part of `validateChat`. */
import { all, boolean, invalidValue, isObject, list, object, oneOf, shape, text, variant, within, wrongType } from './check.ts'
import type { Check, Fault, Members } from './check.ts'
import { schemaOf, withSchema } from './schema.ts'

const MOST_TOOLS = 128

/** Names of tools and of response schemas. */
export const identifier = text({ least: 1, most: 64, pattern: /^[a-zA-Z0-9_-]+$/ })

const functionTool = shape({ name: identifier, description: text(), parameters: object, strict: boolean }, 'name')

const grammar = shape({ syntax: oneOf('lark', 'regex'), definition: text() }, 'syntax', 'definition')
const customTool = shape({
  name: identifier,
  description: text(),
  format: variant('type', { text: object, grammar: shape({ grammar }, 'grammar') })
}, 'name')

const tool = variant('type', { function: shape({ function: functionTool }, 'function'), custom: shape({ custom: customTool }, 'custom') })

/** An empty list is let through: agents without tools send it. */
export const tools: Check = all(list(tool, { of: 'objects', least: 0, most: MOST_TOOLS }), value => firstTwin((value as Members[]).map(nameOf), index => {
  return `[${index}].${(value as Members[])[index]!['type'] as string}.name`
}))

/** Deprecated by OpenAI in favour of tools, still sent. */
export const functions: Check = all(list(functionTool, { of: 'objects', least: 0, most: MOST_TOOLS }), value => {
  return firstTwin((value as Members[]).map(one => one['name']), index => `[${index}].name`)
})

function firstTwin (names: unknown[], path: (index: number) => string): Fault | null {
  if (new Set(names).size === names.length) return null
  const index = names.findIndex((one, at) => names.indexOf(one) < at)
  return { ...invalidValue('an earlier tool has the same name.'), path: path(index) }
}

/** Of a tool or of a choice of one: both carry the name under the member their type names. */
function nameOf (one: Members): unknown {
  return (one[one['type'] as string] as Members)['name']
}

const named = {
  function: shape({ function: shape({ name: text() }, 'name') }, 'function'),
  custom: shape({ custom: shape({ name: text() }, 'name') }, 'custom')
}

const choiceObject = variant('type', {
  ...named,
  allowed_tools: shape({
    allowed_tools: shape({ mode: oneOf('auto', 'required'), tools: list(variant('type', named), { of: 'objects', most: MOST_TOOLS }) }, 'mode', 'tools')
  }, 'allowed_tools')
})
const choiceWord = oneOf('none', 'auto', 'required')

export const toolChoice: Check = withSchema(value => isObject(value) ? choiceObject(value)
  : typeof value === 'string' ? choiceWord(value) : wrongType("one of 'none', 'auto', 'required' or an object", value),
() => ({ anyOf: [schemaOf(choiceWord), schemaOf(choiceObject)] }))

const callObject = shape({ name: text() }, 'name')
const callWord = oneOf('none', 'auto')

/** Deprecated by OpenAI in favour of tool_choice, still sent. */
export const functionCall: Check = withSchema(value => isObject(value) ? callObject(value)
  : typeof value === 'string' ? callWord(value) : wrongType("one of 'none', 'auto' or an object", value),
() => ({ anyOf: [schemaOf(callWord), schemaOf(callObject)] }))

/** `tool_choice` and `function_call` need what they choose from. Expects a body whose members have passed. */
export function choicesExist (body: Members): Fault | null {
  dropIfEmpty(body, 'tools')
  dropIfEmpty(body, 'functions')
  return toolChoiceExists(body) ?? functionCallExists(body)
}

function dropIfEmpty (body: Members, name: 'tools' | 'functions'): void {
  if ((body[name] as unknown[] | undefined)?.length === 0) delete body[name]
}

function toolChoiceExists (body: Members): Fault | null {
  const choice = body['tool_choice']
  if (choice === undefined) return null
  const declared = body['tools'] as Members[] | undefined
  if (declared === undefined) return within('tool_choice', invalidValue("'tool_choice' is only allowed when 'tools' are specified."))
  if (!isObject(choice)) return null
  const chosen = choice['type'] === 'allowed_tools' ? (choice['allowed_tools'] as Members)['tools'] as Members[] : [choice]
  const names = new Set(declared.map(one => `${one['type'] as string} ${nameOf(one) as string}`))
  if (chosen.every(one => names.has(`${one['type'] as string} ${nameOf(one) as string}`))) return null
  return within('tool_choice', invalidValue("it names a tool that is not specified in the 'tools' parameter."))
}

function functionCallExists (body: Members): Fault | null {
  const choice = body['function_call']
  if (choice === undefined) return null
  const declared = body['functions'] as Members[] | undefined
  if (declared === undefined) return within('function_call', invalidValue("'function_call' is only allowed when 'functions' are specified."))
  if (!isObject(choice) || declared.some(one => one['name'] === choice['name'])) return null
  return within('function_call', invalidValue("it names a function that is not specified in the 'functions' parameter."))
}
