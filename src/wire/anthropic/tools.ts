/** Tools and the choice among them. Source: Messages API reference, "Tool use", read 2026-11-22. */
import type { Members } from '../check.ts'
import { unsupported } from '../untranslatable.ts'

/** `tools` and `tool_choice` of the Messages API; nothing where the request has no tools. */
export function toTools (request: Members): Members {
  const declared = request['tools'] as Members[] | undefined
  if (declared === undefined) return {}
  const choice = request['tool_choice']
  const allowed = allowedBy(choice)
  const tools = declared.map((tool, at) => toTool(tool, `tools[${at}]`)).filter(({ name }) => allowed?.has(name) !== false)
  const tool_choice = withoutParallel(toChoice(choice), request['parallel_tool_calls'])
  return { tools, ...tool_choice !== null && { tool_choice } }
}

function toTool (tool: Members, path: string): Members {
  if (tool['type'] !== 'function') throw unsupported(`${path}.type`, 'Anthropic knows functions only.')
  const { name, description, parameters, strict } = tool['function'] as Members
  return {
    name,
    ...description !== undefined && { description },
    input_schema: { type: 'object', ...parameters as Members | undefined },
    ...strict === true && { strict }
  }
}

/** Names of the tools that `allowed_tools` leaves, or null where it does not choose. */
function allowedBy (choice: unknown): ReadonlySet<unknown> | null {
  const { allowed_tools: allowed } = (typeof choice === 'object' ? choice : {}) as Members
  if (allowed === undefined) return null
  return new Set(((allowed as Members)['tools'] as Members[]).map(tool => (tool['function'] as Members | undefined)?.['name']))
}

const WORDS: Readonly<Record<string, string>> = { auto: 'auto', none: 'none', required: 'any' }

function toChoice (choice: unknown): Members | null {
  if (choice === undefined) return null
  if (typeof choice === 'string') return { type: WORDS[choice] }
  const { type, function: named, allowed_tools: allowed } = choice as Members
  if (type === 'allowed_tools') return { type: WORDS[(allowed as Members)['mode'] as string] }
  if (type !== 'function') throw unsupported('tool_choice.type', 'Anthropic knows functions only.')
  return { type: 'tool', name: (named as Members)['name'] }
}

function withoutParallel (choice: Members | null, parallel: unknown): Members | null {
  if (parallel !== false || choice?.['type'] === 'none') return choice
  return { ...choice ?? { type: 'auto' }, disable_parallel_tool_use: true }
}
