/** A configuration file as read: its value, and the line of everything in it. YAML 1.2; JSON is read as YAML. */
import { readFileSync } from 'node:fs'
import {
  isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit,
  type Document, type Node as YamlNode, type Pair, type YAMLError, type YAMLMap
} from 'yaml'
import { ConfigError, placeless, type Path, type Problem } from './problems.ts'

export interface Source {
  readonly value: unknown
  /** Where the path stands, or the nearest thing around it that is there. Counts from 1. */
  locate (path: Path): Position
}

export interface Position { readonly line: number, readonly column: number }

const LARGEST_FILE_BYTES = 16 * 1024 * 1024
const MOST_ALIASES = 1000
const MOST_SYNTAX_PROBLEMS = 50

/** @throws ConfigError when the file cannot be read, is too large, or is not UTF-8 or YAML */
export function readSource (path: string): Source {
  return parseSource(decode(readBytes(path), path), path)
}

function readBytes (path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new ConfigError([placeless('', `cannot be read: ${reasonOf(cause)}`, path)], { cause })
  }
}

/** The system's own word for what went wrong: `ENOENT`. Its whole message would repeat the path. */
function reasonOf (thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown'
  return { ENOENT: 'there is no such file', EACCES: 'permission denied', EISDIR: 'it is a folder' }[code] ?? code
}

function decode (bytes: Buffer, path: string): string {
  if (bytes.length > LARGEST_FILE_BYTES) throw new ConfigError([placeless('', `expected at most ${LARGEST_FILE_BYTES} bytes, got ${bytes.length}`, path)])
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new ConfigError([placeless('', 'expected UTF-8, got other bytes', path)], { cause })
  }
}

/** @throws ConfigError with the line of each syntax error */
export function parseSource (text: string, file: string): Source {
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false, merge: true, stringKeys: true })
  const positionOf = (offset: number): Position => {
    const { line, col } = counter.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  // A warning is a tag that nothing here knows: the text would silently mean something else than it says.
  const errors = withoutConsequences([...document.errors, ...document.warnings])
  if (errors.length > 0) throw new ConfigError(firstOfEachLine(errors.map(error => syntaxProblem(file, error, positionOf(error.pos[0])))))
  return { value: toValue(document, file, positionOf), locate: path => positionOf(offsetOf(document, path)) }
}

/** Once the parser has lost the thread, everything to the end of the file is unexpected. */
function withoutConsequences (errors: readonly YAMLError[]): YAMLError[] {
  const lost = errors.findIndex(({ message }) => message.includes('token in YAML stream'))
  return errors.slice(0, lost === -1 ? MOST_SYNTAX_PROBLEMS : lost + 1)
}

const OWN_WORDS: Readonly<Record<string, string>> = {
  MULTIPLE_DOCS: 'expected one document, got more',
  TAG_RESOLVE_FAILED: 'a tag that means nothing here; put a text that begins with ! in quotes',
  BAD_DIRECTIVE: 'a directive that means nothing here; put a text that begins with % in quotes'
}

function syntaxProblem (file: string, error: YAMLError, position: Position): Problem {
  return { file, ...position, path: '', message: `is not valid YAML: ${OWN_WORDS[error.code] ?? withoutQuote(error.message)}`, severity: 'error' }
}

/** The parser quotes the text at fault behind a colon, and a key could stand there. */
function withoutQuote (message: string): string { return message.replace(/: .*$/su, '') }

/** One slip makes several errors, and only the first of a line says what it was. */
function firstOfEachLine (problems: readonly Problem[]): Problem[] {
  return problems.filter((problem, index) => problems.findIndex(({ line }) => line === problem.line) === index)
}

function toValue (document: Document.Parsed, file: string, positionOf: (offset: number) => Position): unknown {
  try {
    return document.toJS({ maxAliasCount: MOST_ALIASES })
  } catch (cause) {
    const message = cause instanceof Error ? withoutQuote(cause.message) : 'cannot be read as values'
    throw new ConfigError([{ file, ...positionOf(suspect(document)), path: '', message: `is not valid YAML: ${message}`, severity: 'error' }], { cause })
  }
}

/** Where the alias or merge stands that could not be resolved; the start when it is their number that is too great. */
function suspect (document: Document.Parsed): number {
  let offset = document.contents?.range?.[0] ?? 0
  visit(document, {
    Alias (_, alias) {
      if (alias.resolve(document) !== undefined) return undefined
      offset = alias.range?.[0] ?? offset
      return visit.BREAK
    },
    Pair (_, pair) {
      if (!isMerge(pair) || isAlias(pair.value) || isMap(pair.value) || isSeq(pair.value)) return undefined
      offset = startOf(pair.key) ?? offset
      return visit.BREAK
    }
  })
  return offset
}

function offsetOf (document: Document.Parsed, path: Path): number {
  let node: unknown = document.contents
  let offset = startOf(node) ?? 0
  for (const step of path) {
    const target = isAlias(node) ? node.resolve(document) : node
    const found = isMap(target) ? memberOf(document, target, String(step), 0) : isSeq(target) ? itemOf(target.items[Number(step)]) : null
    if (found === null) return offset
    ;({ offset, node } = found)
  }
  return offset
}

interface Found { readonly offset: number, readonly node: unknown }

const DEEPEST_MERGE = 20

/** The pair of this name, in the map itself or in what is merged into it. Its key is where a reader looks. */
function memberOf (document: Document, map: YAMLMap, name: string, depth: number): Found | null {
  const pair = map.items.find(({ key }) => isScalar(key) && String(key.value) === name)
  if (pair !== undefined) return { offset: startOf(pair.key) ?? 0, node: pair.value }
  if (depth === DEEPEST_MERGE) return null
  for (const merge of map.items.filter(isMerge)) {
    const sources = isSeq(merge.value) ? merge.value.items : [merge.value]
    for (const source of sources) {
      const target = isAlias(source) ? source.resolve(document) : source
      const found = isMap(target) ? memberOf(document, target, name, depth + 1) : null
      if (found !== null) return found
    }
  }
  return null
}

function itemOf (item: unknown): Found | null {
  const offset = startOf(item)
  return offset === null ? null : { offset, node: item }
}

function isMerge (pair: Pair): boolean { return isScalar(pair.key) && pair.key.source === '<<' }

function startOf (node: unknown): number | null { return (node as YamlNode | null)?.range?.[0] ?? null }
