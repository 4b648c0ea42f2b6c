/** What a request says of tools: which are offered, and whether one must be called. */
import { GatewayError } from '../../errors.ts'

type Body = Readonly<Record<string, unknown>>

export interface Tool {
  readonly name: string
  /** JSON Schema of the arguments, or null when the request has none. */
  readonly parameters: unknown
  /** OpenAI's strict mode. */
  readonly isStrict: boolean
  /** Where it stands in the request. */
  readonly path: string
  /** As the chat template gets it. */
  readonly given: Body
}

export interface ToolUse {
  readonly offered: readonly Tool[]
  /** The answer has to be a call of one of the offered tools. */
  readonly isForced: boolean
  /** More than one call in an answer. */
  readonly isParallel: boolean
}

/** @returns null when there are no tools, or none may be called: the model is then not told of them */
export function readTools (body: Body): ToolUse | null {
  const given = body['tools'] ?? []
  if (!Array.isArray(given)) throw invalid('tools', 'tools: expected an array.')
  const tools = given.map((tool: unknown, i) => readTool(tool, `tools[${i}]`))
  const choice = readChoice(body['tool_choice'] ?? 'auto', tools)
  return tools.length === 0 || choice === null ? null : { ...choice, isParallel: body['parallel_tool_calls'] !== false }
}

function readTool (tool: unknown, path: string): Tool {
  if (!isObject(tool)) throw invalid(path, `${path}: expected an object.`)
  if (tool['type'] !== 'function') {
    throw new GatewayError('unsupported_value', `${path}: local models call tools of the type "function" only.`, { param: path })
  }
  const { function: declared } = tool
  if (!isObject(declared) || typeof declared['name'] !== 'string' || declared['name'] === '') {
    throw invalid(`${path}.function.name`, `${path}.function.name: expected the name of the function.`)
  }
  return { name: declared['name'], parameters: declared['parameters'] ?? null, isStrict: declared['strict'] === true, path: `${path}.function.parameters`, given: tool }
}

function readChoice (choice: unknown, tools: readonly Tool[]): Pick<ToolUse, 'offered' | 'isForced'> | null {
  if (choice === 'none') return null
  if (choice === 'auto' || choice === 'required') return { offered: tools, isForced: choice === 'required' }
  if (isObject(choice) && choice['type'] === 'function') return { offered: [named(choice, tools)], isForced: true }
  const allowed = isObject(choice) && choice['type'] === 'allowed_tools' ? choice['allowed_tools'] : null
  if (!isObject(allowed) || !Array.isArray(allowed['tools']) || allowed['tools'].length === 0) {
    throw invalid('tool_choice', 'tool_choice: expected "none", "auto", "required", a function, or allowed_tools.')
  }
  const names = new Set(allowed['tools'].map((tool: unknown) => named(tool, tools).name))
  return { offered: tools.filter(({ name }) => names.has(name)), isForced: allowed['mode'] === 'required' }
}

function named (choice: unknown, tools: readonly Tool[]): Tool {
  const declared = isObject(choice) ? choice['function'] : null
  const tool = isObject(declared) ? tools.find(({ name }) => name === declared['name']) : undefined
  if (tool === undefined) throw invalid('tool_choice', 'tool_choice names a tool that is not in tools.')
  return tool
}

function isObject (value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid (param: string, message: string): GatewayError {
  return new GatewayError('invalid_value', message, { param })
}
