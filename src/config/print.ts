/** What the schema says, for people and for editors: docs/configuration.md and docs/torchgate.schema.json. */
import type { TSchema } from 'typebox'
import { ENVIRONMENT } from './environment.ts'
import { choicesOf, entriesOf, expected, isOptional, isSecret, kindsOf, type Node } from './node.ts'
import { PRESETS, type Preset } from './presets.ts'
import { PROVIDERS } from './providers.ts'
import { Config } from './schema.ts'

/** One setting, or a section of them. */
export interface Option {
  /** `backends[].timeouts.idleMs` */
  readonly path: string
  /** The `kind` that has it, inside a union; null elsewhere. */
  readonly kind: string | null
  readonly node: Node
  readonly required: boolean
}

/** Every option there is, in the order of the schema. */
export function options (): Option[] {
  return membersOf(Config as TSchema as Node, '', null)
}

function membersOf (node: Node, prefix: string, kind: string | null): Option[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, member]) => {
    const path = prefix === '' ? name : `${prefix}.${name}`
    return [{ path, kind, node: member, required: !isOptional(node, name) }, ...insideOf(member, path, kind)]
  })
}

function insideOf (node: Node, path: string, kind: string | null): Option[] {
  const kinds = kindsOf(node)
  if (kinds !== null) return [...kinds].flatMap(([name, branch]) => membersOf(branch, path, name))
  if (node.items !== undefined) return insideOf(node.items, `${path}[]`, kind)
  return isSecret(node) ? [] : membersOf(node, path, kind)
}

/** The page of every option, with what runs when there is no file. */
export function configurationPage (): string {
  return [PREFACE, environmentTable(), providersTable(), ...sections(), presetsTable()].join('\n\n') + '\n'
}

const PREFACE = `# Configuration

<!-- Printed from src/config/schema.ts by \`npm run docs\`. Change it there. -->

Write a YAML file (JSON is fine too), check it, and start with it:

\`\`\`sh
cp torchgate.example.yaml torchgate.yaml
npx torchgate check torchgate.yaml
npx torchgate start --config torchgate.yaml
\`\`\`

[torchgate.example.yaml](../torchgate.example.yaml) shows every option with its default. Relative paths count from the folder
of the file. A file that is wrong is refused as a whole, and every problem is told with its line:

\`\`\`
torchgate.yaml:14 backends[1].locality: expected local, domain or cloud, got "onprem"
torchgate.yaml:21 backends[1].conections: is not known here; did you mean \`connections\`?
\`\`\`

Editors check while you type when the file begins with
\`# yaml-language-server: $schema=docs/torchgate.schema.json\`.

**Secrets** are named in the file, never written in it: \`{ env: OPENAI_API_KEY }\` or \`{ file: /run/secrets/openai }\`.
Where \`NAME\` is unset and \`NAME_FILE\` is set, the file it names is read. \`{ command: [pass, show, openai] }\` runs a program, without a
shell, and takes the line that it writes; it has \`timeoutMs\` (5000) for that, and is run by \`torchgate check\` too.

**Model names** are public: a model's \`targets\` say what may answer. A name may end in \`*\`; an exact name wins, then the longest
prefix, and a \`*\` in a target's \`model\` stands for what the \`*\` of the name matched (one character or more).

**Boundaries** are checked when the file is loaded. A tenant that names a model it can never reach, and a target that no tenant can
ever reach, are errors; a \`*\` of a tenant that matches a model out of its reach is a warning. Boundaries never widen as the class rises.

## Without a file

\`npm start\` serves the built-in model, or the GGUF file of \`--model\`, under its own name to the tenant \`default\`, on loopback. Each cloud
provider whose key is in the environment becomes a backend of locality \`cloud\` and answers \`provider/model\`.`

function environmentTable (): string {
  const rows = Object.entries(ENVIRONMENT).map(([name, { overrides, says }]) => [`\`${name}\``, `\`${overrides}\``, says])
  return `## Environment variables\n\nThey override the file; flags override them. An empty variable counts as unset.\n\n${table(['Variable', 'Overrides', 'What it is'], rows)}`
}

function providersTable (): string {
  const rows = PROVIDERS.map(({ name, key, baseUrl, baseUrlVariable, bare }) => [
    `\`${key}\``,
    baseUrlVariable === null ? `\`${baseUrl}\`` : `\`${baseUrl}\` or \`${baseUrlVariable}\``,
    [`${name}/*`, ...bare].map(pattern => `\`${pattern}\``).join(', ')
  ])
  return `### Providers from the environment\n\nOnly when there is no file. \`NAME_FILE\` counts as well.\n\n${table(['Variable', 'Base URL', 'Public model names'], rows)}`
}

function presetsTable (): string {
  const rows = Object.entries(PRESETS).map(([name, { baseUrl, locality, quirks = {} }]: [string, Preset]) => {
    const renamed = { max_completion_tokens: quirks.limit, seed: quirks.seed }
    const said = Object.entries(renamed).flatMap(([from, to]) => to === undefined ? [] : [`\`${from}\` as \`${to}\``])
    const refused = [...quirks.lacks ?? [], ...quirks.nameless === true ? ['messages[].name'] : []].map(member => `\`${member}\``)
    return [`\`${name}\``, `\`${baseUrl}\``, `\`${locality}\``, said.join(', ') || 'nothing', refused.join(', ') || 'nothing']
  })
  return `## Presets\n\nFor \`preset\` of \`kind: openai\`. What a server is known not to have is refused by name, before anything is sent, so that another target may answer.\n\n${table(['Preset', 'Base URL', 'Locality', 'Said in other words', 'Refused'], rows)}`
}

function sections (): string[] {
  const all = options()
  return all.filter(({ path }) => /^\w+$/.test(path)).flatMap(({ path: name, node, required }) => {
    const inside = all.filter(({ path }) => path.startsWith(`${name}.`) || path.startsWith(`${name}[]`))
    if (inside.length === 0) return [`## \`${name}\`\n\n${table(HEAD, [row({ path: name, kind: null, node, required })])}`]
    const kinds = [...new Set(inside.map(({ kind }) => kind))]
    const tables = kinds.map(kind => {
      const rows = table(HEAD, inside.filter(option => option.kind === kind).map(row))
      return kind === null ? rows : `### \`kind: ${kind}\`\n\n${rows}`
    })
    return [`## \`${name}\`\n\n${required ? 'Required. ' : ''}${node.description ?? ''}`, ...tables]
  })
}

const HEAD = ['Path', 'Value', 'Default', 'What it is']

function row ({ path, node, required }: Option): string[] {
  return [`\`${path}\``, valueOf(node), required ? node.byPreset === true ? 'required, or of the `preset`' : 'required' : defaultOf(node), node.description ?? '']
}

function valueOf (node: Node): string {
  const choices = choicesOf(node)
  if (choices !== null) return choices.map(choice => `\`${choice}\``).join(', ')
  const entries = entriesOf(node)
  if (entries !== null) return 'a map of names to texts'
  return isSecret(node) ? '`{ env: NAME }`, `{ file: PATH }` or `{ command: [PROGRAM, …] }`' : expected(node)
}

function defaultOf (node: Node): string {
  if (node.default === undefined) return 'none'
  return node.properties === undefined ? `\`${JSON.stringify(node.default)}\`` : ''
}

/** A Markdown table. */
export function table (head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map(tableLine).join('\n')
}

function tableLine (cells: readonly string[]): string { return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |` }

/** The schema for editors, as JSON text: what has a default may be left out, and names of records are held to their pattern. */
export function configurationSchema (): string {
  const { $id: _, ...schema } = forEditors(Config) as Record<string, unknown>
  const head = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'torchgate configuration' }
  return `${JSON.stringify({ ...head, ...schema }, null, 2)}\n`
}

function forEditors (node: unknown): unknown {
  if (Array.isArray(node)) return node.map(forEditors)
  if (typeof node !== 'object' || node === null) return node
  const { required, byPreset: _, ...rest } = node as Node
  const needed = required?.filter(name => !isOptional(node as Node, name) && rest.properties?.[name]?.byPreset !== true) ?? []
  return {
    ...Object.fromEntries(Object.entries(rest).map(([name, member]) => [name, forEditors(member)])),
    ...needed.length > 0 && { required: needed },
    ...rest.patternProperties !== undefined && { additionalProperties: false }
  }
}
