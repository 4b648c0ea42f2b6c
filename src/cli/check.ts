import { loadConfig, type LoadedConfig } from '../config/load.ts'
import { ConfigError, problemLine, type Problem } from '../config/problems.ts'
import { surroundingsOf } from './configuration.ts'

export interface CheckOptions {
  readonly env: NodeJS.ProcessEnv
  readonly print?: (line: string) => void
}

/** Says what is wrong with a configuration file, all of it, or that nothing is. @returns the exit code: 1 when anything is an error */
export function check (path: string, { env, print = console.log }: CheckOptions): 0 | 1 {
  const found = load(path, env)
  if (Array.isArray(found)) return report(found, print)
  const { config, revision, warnings } = found
  const code = report([...warnings, ...surroundingsOf(found, env).problems], print)
  if (code === 0) {
    const parts = [counted(config.backends, 'backend'), counted(config.models, 'model'), counted(config.tenants, 'tenant')]
    print(`${path}: ok, ${parts.join(', ')}, revision ${revision}`)
  }
  return code
}

function load (path: string, env: NodeJS.ProcessEnv): LoadedConfig | Problem[] {
  try {
    return loadConfig(path, { env })
  } catch (thrown) {
    if (thrown instanceof ConfigError) return [...thrown.problems]
    throw thrown
  }
}

function report (problems: readonly Problem[], print: (line: string) => void): 0 | 1 {
  for (const problem of problems) print(problemLine(problem))
  return problems.some(({ severity }) => severity === 'error') ? 1 : 0
}

function counted (items: readonly unknown[], word: string): string { return `${items.length} ${word}${items.length === 1 ? '' : 's'}` }
