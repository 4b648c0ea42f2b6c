/** Tools and the choice among them. Source: "Function calling" and the reference of FunctionCallingConfig, read 2026-11-22. */
import type { Members } from '../check.ts'
import { unsupported } from '../untranslatable.ts'

/** `tools` and `toolConfig`; nothing where the request has no tools. */
export function toTools (request: Members): Members {
  const declared = request['tools'] as Members[] | undefined
  if (declared === undefined) return {}
  const choice = request['tool_choice']
  const allowed = allowedBy(choice)
  const functions = declared.map((tool, at) => functionOf(tool, `tools[${at}]`)).filter(({ name }) => allowed?.has(name) !== false)
  return {
    tools: [{ functionDeclarations: functions.map(toDeclaration) }],
    toolConfig: { functionCallingConfig: toChoice(choice, functions.some(({ strict }) => strict === true)) }
  }
}

function functionOf (tool: Members, path: string): Members {
  if (tool['type'] !== 'function') throw unsupported(`${path}.type`, 'the Gemini API takes functions only.')
  return tool['function'] as Members
}

function toDeclaration ({ name, description, parameters }: Members): Members {
  return { name, ...description !== undefined && { description }, ...parameters !== undefined && { parametersJsonSchema: parameters } }
}

/** Names of the tools that `allowed_tools` leaves, or null where it does not choose. */
function allowedBy (choice: unknown): ReadonlySet<unknown> | null {
  const { allowed_tools: allowed } = (typeof choice === 'object' ? choice : {}) as Members
  if (allowed === undefined) return null
  return new Set(((allowed as Members)['tools'] as Members[]).map(tool => (tool['function'] as Members | undefined)?.['name']))
}

const MODES: Readonly<Record<string, string>> = { auto: 'AUTO', none: 'NONE', required: 'ANY' }

/** `VALIDATED` is `AUTO` whose calls are held to their schemas, as `strict` asks; `ANY` holds them anyway. */
function toChoice (choice: unknown, isStrict: boolean): Members {
  if (typeof choice !== 'string' && choice !== undefined) {
    const { type, function: named, allowed_tools: allowed } = choice as Members
    if (type === 'allowed_tools') return toChoice((allowed as Members)['mode'], isStrict)
    if (type !== 'function') throw unsupported('tool_choice.type', 'the Gemini API takes functions only.')
    return { mode: 'ANY', allowedFunctionNames: [(named as Members)['name']] }
  }
  const mode = MODES[choice ?? 'auto']
  return { mode: mode === 'AUTO' && isStrict ? 'VALIDATED' : mode }
}
