/** Holds a value against the schema: fills in defaults and finds everything that does not fit. */
import type { TSchema } from 'typebox'
import { nearest } from './nearest.ts'
import { choicesOf, entriesOf, expected, fits, got, isOptional, isSecret, kindsOf, type Node } from './node.ts'
import { listed, type Finding, type Path } from './problems.ts'

/** `value` is complete and of the schema's type exactly when there are no findings. The given value is left as it is. */
export function conform (schema: TSchema, value: unknown): { value: unknown, findings: Finding[] } {
  const findings: Finding[] = []
  const report: Report = (path, message) => findings.push({ path, message, severity: 'error' })
  return { value: visit(schema as Node, value, [], report), findings }
}

type Report = (path: Path, message: string) => void
type Members = Readonly<Record<string, unknown>>

function visit (node: Node, value: unknown, path: Path, report: Report): unknown {
  const kinds = kindsOf(node)
  if (isSecret(node)) return visitSecret(node, value, path, report)
  if (kinds !== null) return visitKinds(kinds, value, path, report)
  if (node.properties !== undefined) return visitObject(node, value, path, report)
  if (node.patternProperties !== undefined) return visitRecord(node, value, path, report)
  if (node.type === 'array') return visitList(node, value, path, report)
  return visitLeaf(node, value, path, report)
}

function visitObject (node: Node, value: unknown, path: Path, report: Report): unknown {
  // `server:` with every line below it commented out is null in YAML, and means a section left alone.
  const members = value === null && node.default !== undefined ? {} : value
  if (!isMap(members)) return report(path, mismatch(node, value))
  reportUnknown(node, members, path, report)
  const known = Object.entries(node.properties ?? {}).map(([name, member]): [string, unknown] => {
    if (Object.hasOwn(members, name)) return [name, visit(member, members[name], [...path, name], report)]
    if (member.default !== undefined) return [name, visit(member, member.default, [...path, name], report)]
    if (!isOptional(node, name)) report([...path, name], `missing; expected ${expected(member)}`)
    return [name, undefined]
  })
  return Object.fromEntries(known.filter(([, member]) => member !== undefined))
}

function reportUnknown (node: Node, members: Members, path: Path, report: Report): void {
  const known = Object.keys(node.properties ?? {})
  for (const name of Object.keys(members)) {
    if (known.includes(name)) continue
    const meant = nearest(name, known)
    report([...path, name], `is not known here; ${meant === null ? `known are ${listed(known, 'and')}` : `did you mean \`${meant}\`?`}`)
  }
}

/** The branch that `kind` selects speaks for the union; the others would only add noise. */
function visitKinds (kinds: ReadonlyMap<string, Node>, value: unknown, path: Path, report: Report): unknown {
  if (!isMap(value)) return report(path, `expected a map, got ${got(value, {})}`)
  const kind = Object.hasOwn(value, 'kind') ? value['kind'] : undefined
  const branch = typeof kind === 'string' ? kinds.get(kind) : undefined
  if (branch !== undefined) return visitObject(branch, value, path, report)
  const choice: Node = { enum: [...kinds.keys()] }
  report([...path, 'kind'], kind === undefined ? `missing; expected ${expected(choice)}` : mismatch(choice, kind))
}

function visitSecret (node: Node, value: unknown, path: Path, report: Report): unknown {
  if (!isMap(value)) return report(path, `expected ${expected(node)}, got ${isScalar(value) ? 'a text; put it into an environment variable or a file and name that here' : got(value, {})}`)
  const ways = node.anyOf?.filter(branch => Object.keys(branch.properties ?? {}).some(name => Object.hasOwn(value, name))) ?? []
  if (ways.length === 1) return visitObject(ways[0]!, value, path, report)
  report(path, `expected ${expected(node)}, got ${ways.length === 0 ? 'none of them' : 'several'}`)
}

function visitRecord (node: Node, value: unknown, path: Path, report: Report): unknown {
  const entries = entriesOf(node)
  if (value === null) return {}
  if (entries === null || !isMap(value)) return report(path, mismatch(node, value))
  return Object.fromEntries(Object.keys(value).toSorted().map(name => {
    if (!entries.names.test(name)) report([...path, name], `the name does not fit; expected ${node.patternErrorMessage ?? 'another name'}`)
    return [name, visit(entries.value, value[name], [...path, name], report)]
  }))
}

function visitList (node: Node, value: unknown, path: Path, report: Report): unknown {
  const { items, minItems = 0, maxItems = Infinity } = node
  if (!Array.isArray(value)) return report(path, mismatch(node, value))
  if (value.length < minItems || value.length > maxItems) return report(path, `expected ${expected(node)}, got ${value.length}`)
  return value.map((item, index) => visit(items ?? {}, item, [...path, index], report))
}

function visitLeaf (node: Node, value: unknown, path: Path, report: Report): unknown {
  if (fits(node, value)) return value
  const hint = isText(node) && isScalar(value) && typeof value !== 'string' ? '; put it in quotes' : ''
  report(path, mismatch(node, value) + hint)
}

function isText (node: Node): boolean { return node.type === 'string' && choicesOf(node) === null }

function mismatch (node: Node, value: unknown): string { return `expected ${expected(node)}, got ${got(value, node)}` }

function isMap (value: unknown): value is Members { return typeof value === 'object' && value !== null && !Array.isArray(value) }

function isScalar (value: unknown): boolean { return value !== null && typeof value !== 'object' }
