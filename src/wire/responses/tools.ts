/** Tools of a Responses request as chat completions know them. Source: OpenAI API reference, "Create a model response", read 2026-11-22. */
import { createHash } from 'node:crypto'
import { GatewayError } from '../../errors.ts'
import { boolean, invalidValue, isObject, list, missing, object, oneOf, shape, text, variant, within, wrongType } from '../check.ts'
import type { Check, Fault, Members } from '../check.ts'
import { identifier } from '../tools.ts'

/** How a caller declared a tool that chat completions know as a function. */
export interface Declared { readonly kind: 'function' | 'custom', readonly name: string, readonly namespace: string | null }

export interface Toolbox {
  /** Functions for chat completions. */
  readonly tools: readonly Members[]
  /** By the name of the function. */
  readonly declared: ReadonlyMap<string, Declared>
  /** As the response repeats them: what is really offered. */
  readonly echo: readonly Members[]
  readonly warnings: readonly string[]
}

const MOST_TOOLS = 128
const MOST_NAME = 64

/** Tools that OpenAI runs itself or that its own clients run; nothing here runs them. */
const HOSTED = new Set([
  'apply_patch', 'code_interpreter', 'computer', 'computer_use', 'computer_use_preview', 'file_search', 'image_generation', 'local_shell', 'mcp',
  'programmatic_tool_calling', 'shell', 'tool_search', 'web_search', 'web_search_2025_08_26', 'web_search_preview', 'web_search_preview_2025_03_11'
])

const callers: Check = value => Array.isArray(value) && value.includes('direct') ? null : invalidValue("a tool here is called by the model alone; leave it out or include 'direct'.")
const never: Check = value => boolean(value) ?? (value === true ? invalidValue('calls are not asynchronous here.') : null)
const called = { name: identifier, description: text(), allowed_callers: callers, async: never, defer_loading: boolean }
const functionTool = shape({ ...called, parameters: object, strict: boolean, output_schema: object }, 'name')
const customTool = shape({
  ...called,
  format: variant('type', { text: object, grammar: shape({ syntax: oneOf('lark', 'regex'), definition: text() }, 'syntax', 'definition') })
}, 'name')
const namespaceTool = shape({
  name: text({ least: 1, most: 256 }),
  description: text(),
  tools: list(variant('type', { function: functionTool, custom: customTool }), { of: 'objects', least: 0, most: MOST_TOOLS })
}, 'name', 'tools')
const served = variant('type', { function: functionTool, custom: customTool, namespace: namespaceTool })

function tool (value: unknown): Fault | null {
  if (isObject(value) && typeof value['type'] === 'string' && HOSTED.has(value['type'])) return null
  return served(value)
}

export const tools: Check = list(tool, { of: 'objects', least: 0, most: MOST_TOOLS })

/**
 * Name of a function for a tool inside a namespace. The same for the same two names always, so that a call in a history
 * is that of the tool that is declared.
 */
export function functionName (namespace: string | null, name: string): string {
  if (namespace === null) return name
  const joined = namespace.endsWith('__') ? namespace + name : `${namespace}__${name}`
  if (/^[a-zA-Z0-9_-]+$/.test(joined) && joined.length <= MOST_NAME) return joined
  const digest = createHash('sha256').update(`${namespace}\n${name}`).digest('hex').slice(0, 8)
  return `${joined.replaceAll(/[^a-zA-Z0-9_-]/g, '_').slice(0, MOST_NAME - 9)}_${digest}`
}

/** @throws GatewayError when two tools would have one name */
export function readTools (given: readonly Members[]): Toolbox {
  const box = { tools: [] as Members[], declared: new Map<string, Declared>(), echo: [] as Members[], warnings: [] as string[] }
  const add = (one: Members, namespace: string | null, path: string): void => {
    const kind = one['type'] as Declared['kind']
    const name = one['name'] as string
    const known = functionName(namespace, name)
    if (box.declared.has(known)) throw new GatewayError('invalid_value', `Invalid value for '${path}.name': an earlier tool has the same name.`, { param: `${path}.name` })
    box.declared.set(known, { kind, name, namespace })
    box.tools.push(kind === 'custom' ? customAsFunction(one, known) : functionOf(one, known))
    if (kind === 'custom' && isObject(one['format']) && one['format']['type'] === 'grammar') {
      box.warnings.push(`${path}.format: the model is told the grammar and not held to it`)
    }
  }
  for (const [index, one] of given.entries()) {
    const path = `tools[${index}]`
    const type = one['type'] as string
    if (HOSTED.has(type)) {
      box.warnings.push(`${path}: ${type} is not served and was left out`)
      continue
    }
    if (type === 'namespace') {
      for (const [at, inner] of (one['tools'] as Members[]).entries()) add(inner, one['name'] as string, `${path}.tools[${at}]`)
    } else add(one, null, path)
    box.echo.push(type === 'function' ? { description: null, parameters: null, strict: false, ...one } : one)
  }
  return box
}

function functionOf (one: Members, name: string): Members {
  const declared: Members = { name }
  for (const member of ['description', 'parameters', 'strict']) if (one[member] !== undefined) declared[member] = one[member]
  return { type: 'function', function: declared }
}

/**
 * A tool that takes plain text is a function with one string: local models and most servers know nothing else. A grammar
 * goes into the description.
 */
function customAsFunction (one: Members, name: string): Members {
  const format = one['format'] as Members | undefined
  const told = [one['description'], format?.['type'] === 'grammar' ? `The input follows this ${format['syntax'] as string} grammar:\n${format['definition'] as string}` : undefined]
  const description = told.filter(part => part !== undefined).join('\n\n')
  const parameters = { type: 'object', properties: { input: { type: 'string', description: 'The whole input of the tool, as plain text.' } }, required: ['input'], additionalProperties: false }
  return { type: 'function', function: { name, ...description !== '' && { description }, parameters } }
}

/** Arguments of the function that stands for a custom tool. */
export function customArguments (input: string): string { return JSON.stringify({ input }) }

/** The text in them. What a model wrote otherwise is taken as the text itself. */
export function customInput (args: string): string {
  try {
    const value: unknown = JSON.parse(args)
    if (isObject(value) && typeof value['input'] === 'string') return value['input']
  } catch {
    // Not JSON: a model that writes the text bare.
  }
  return args
}

const named = shape({ type: oneOf('function', 'custom'), name: text() }, 'type', 'name')
const allowed = shape({ mode: oneOf('auto', 'required'), tools: list(object, { of: 'objects', most: MOST_TOOLS }) }, 'mode', 'tools')
const words = oneOf('none', 'auto', 'required')

export const toolChoice: Check = value => {
  if (typeof value === 'string') return words(value)
  if (!isObject(value)) return wrongType("one of 'none', 'auto', 'required' or an object", value)
  const type = value['type']
  if (type === undefined) return missing('type')
  if (type === 'allowed_tools') return allowed(value)
  if (typeof type === 'string' && HOSTED.has(type)) return within('type', { ...invalidValue(`${type} is not served.`), code: 'unsupported_value' })
  return named(value)
}

/** @throws GatewayError `param` tool_choice when it chooses what is not there */
export function readChoice (choice: unknown, { declared }: Toolbox): unknown {
  if (choice === undefined) return undefined
  if (declared.size === 0) {
    if (choice === 'none' || choice === 'auto') return undefined
    throw notThere("it needs a function or custom tool in the 'tools' parameter.")
  }
  if (!isObject(choice)) return choice
  if (choice['type'] !== 'allowed_tools') return { type: 'function', function: { name: nameOf(choice, declared) } }
  const kept = (choice['tools'] as Members[]).filter(one => !HOSTED.has(one['type'] as string))
  if (kept.length === 0) throw notThere('none of the allowed tools is served.')
  const names = kept.flatMap(one => one['type'] === 'namespace' ? inNamespace(one, declared) : [nameOf(one, declared)])
  return { type: 'allowed_tools', allowed_tools: { mode: choice['mode'], tools: names.map(name => ({ type: 'function', function: { name } })) } }
}

function nameOf (choice: Members, declared: Toolbox['declared']): string {
  const fits = [...declared].filter(([, { kind, name }]) => kind === choice['type'] && name === choice['name'])
  const found = fits.find(([, { namespace }]) => namespace === (choice['namespace'] ?? null)) ?? (fits.length === 1 ? fits[0] : undefined)
  if (found === undefined) throw notThere("it names a tool that is not specified in the 'tools' parameter.")
  return found[0]
}

function inNamespace (choice: Members, declared: Toolbox['declared']): string[] {
  const names = [...declared].filter(([, { namespace }]) => namespace === choice['name']).map(([name]) => name)
  if (names.length === 0) throw notThere("it names a namespace that is not specified in the 'tools' parameter.")
  return names
}

function notThere (why: string): GatewayError {
  return new GatewayError('invalid_value', `Invalid value for 'tool_choice': ${why}`, { param: 'tool_choice' })
}
