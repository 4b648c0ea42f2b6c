/** From a public model name to what may answer it. Compiled once, asked at every call. */
import type { Config, ModelConfig, TargetConfig } from './schema.ts'

export interface ModelRoute {
  /** The entry that matched. Its `name` is safe as a label; the name a caller wrote is not, where the entry ends in `*`. */
  readonly model: ModelConfig
  /** With `*` replaced by what it matched. */
  readonly targets: readonly TargetConfig[]
}

export interface ModelRoutes {
  /** An exact name wins, then the longest prefix. Null when nothing matches, or when no backend could have such a name. */
  find (publicName: string): ModelRoute | null
}

const LONGEST_NAME = 128
/** The ending that `*` takes goes into a backend's request, so it is held to the characters of model names. */
const NAME = /^[A-Za-z0-9._:/@+-]+$/

export function modelRoutes (config: Pick<Config, 'models'>): ModelRoutes {
  const exact = new Map<string, ModelRoute>()
  const byPrefix = new Map<string, ModelConfig>()
  for (const model of config.models) {
    if (model.name.endsWith('*')) byPrefix.set(model.name.slice(0, -1), model)
    else exact.set(model.name, { model, targets: model.targets })
  }
  const lengths = [...new Set([...byPrefix.keys()].map(prefix => prefix.length))].toSorted((a, b) => b - a)

  function findByPrefix (name: string): ModelRoute | null {
    for (const length of lengths) {
      // `*` stands for one character or more: `openai/` alone is no model.
      if (length >= name.length) continue
      const model = byPrefix.get(name.slice(0, length))
      if (model !== undefined) return NAME.test(name) ? { model, targets: substituted(model.targets, name.slice(length)) } : null
    }
    return null
  }

  return {
    find: name => name.length > LONGEST_NAME ? null : exact.get(name) ?? findByPrefix(name)
  }
}

function substituted (targets: readonly TargetConfig[], ending: string): TargetConfig[] {
  // A function as replacement: in a text, `$&` in the caller's name would have a meaning.
  return targets.map(({ backend, model }) => ({ backend, model: model.replace('*', () => ending) }))
}

type Matcher = (name: string) => boolean

/** Compiled once per list; a reload brings new lists, and the old ones are forgotten with their configuration. */
const matchers = new WeakMap<readonly string[], Matcher>()

/** May a tenant with these patterns call `name`? `*` at the end matches any ending, also none. */
export function patternAllows (patterns: readonly string[], name: string): boolean {
  let matcher = matchers.get(patterns)
  if (matcher === undefined) matchers.set(patterns, matcher = compile(patterns))
  return matcher(name)
}

function compile (patterns: readonly string[]): Matcher {
  if (patterns.includes('*')) return () => true
  const exact = new Set(patterns.filter(pattern => !pattern.endsWith('*')))
  const prefixes = patterns.filter(pattern => pattern.endsWith('*')).map(pattern => pattern.slice(0, -1))
  return name => exact.has(name) || prefixes.some(prefix => name.startsWith(prefix))
}
