/** A small whole configuration, and what loading a text says. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig, type LoadedConfig } from '../../src/config/load.ts'
import { ConfigError, problemLine } from '../../src/config/problems.ts'

export const SAMPLE = `backends:
  - name: gpu-a
    kind: pool
    models:
      - { name: qwen, path: models/qwen.gguf }
  - name: openai
    kind: openai
    baseUrl: https://api.openai.com/v1
    locality: cloud
    apiKey: { env: OPENAI_API_KEY }
models:
  - name: qwen
    targets:
      - { backend: gpu-a, model: qwen }
      - { backend: openai, model: gpt-4.1 }
  - name: openai/*
    targets:
      - { backend: openai, model: "*" }
tenants:
  - name: acme
    class: public
`

/** Every problem of the text as lines, warnings too; the file is called torchgate.yaml in them. */
export function problemsOf (text: string, env: NodeJS.ProcessEnv = {}): string[] {
  return withFile(text, path => {
    const say = (problems: LoadedConfig['warnings']) => problems.map(problem => problemLine({ ...problem, file: problem.file === path ? 'torchgate.yaml' : problem.file }))
    try {
      return say(loadConfig(path, { env }).warnings)
    } catch (thrown) {
      if (thrown instanceof ConfigError) return say(thrown.problems)
      throw thrown
    }
  })
}

export function loaded (text: string, env: NodeJS.ProcessEnv = {}): LoadedConfig {
  return withFile(text, path => loadConfig(path, { env }))
}

function withFile<T> (text: string, work: (path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'torchgate-config-'))
  try {
    const path = join(folder, 'torchgate.yaml')
    writeFileSync(path, text)
    return work(path)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
