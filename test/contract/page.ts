/** node test/contract/page.ts: asks both gateways anew, and writes docs/conformance.md. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CHECKS } from './checks/all.ts'
import { proveAll, type Finding } from './check.ts'
import { local, upstream } from './rigs.ts'
import type { Surroundings } from '../gateway/harness.ts'

const INTRODUCTION = `# Conformance

What of the OpenAI API can be seen from outside, line by line: **C** lines, without which a client breaks or is lied to, and **S** lines,
documented exactness. Anyone can ask any server:

\`\`\`sh
npm run conformance -- --base-url http://127.0.0.1:8080/v1 --key KEY --model NAME
\`\`\`

\`pass\` and \`fail\` are what was found; \`not served\` is what a server itself refuses, by a route that is not there or by name. The exit code
is 1 where a line fails. \`--only stream.\` asks the lines that begin so; the model is the first of the server's list unless it is named. The
lines want a model that answers "Count from 1 to 10" with a sentence, and repeats itself at temperature 0; against a server that does
not, the lines that compare two answers tell as much.

Side by side, both in their whole:

- *local*: torchgate with its built-in model
- *upstream*: torchgate in front of a scripted provider, which serves chat completions, completions and vectors, and no responses and no messages

llama-server was not at hand when this page was written, and has no column: \`npm run conformance -- --base-url http://127.0.0.1:8080/v1\` in
front of one gives it. The rows are printed by \`node test/contract/page.ts\`; a test asks again and compares.
`

/** Why a line cannot be kept, where that is known. */
const WHY: Readonly<Record<string, string>> = {
  'messages.stop': 'A `finish_reason` of OpenAI\'s API is `stop` with a stop sequence and without; which it was, only those providers tell that say so beside it ([api.md](api.md)).'
}

const row = ({ name, level, says }: Finding, verdicts: readonly string[]): string =>
  `| ${name} | ${level} | ${says.replaceAll('|', '\\|')} | ${verdicts.join(' | ')} |`

function pageOf (columns: Readonly<Record<string, readonly Finding[]>>): string {
  const all = Object.values(columns)
  const rows = all[0]!.map((finding, index) => row(finding, all.map(findings => findings[index]!.verdict)))
  const sums = Object.entries(columns).map(([name, findings]) => `${name} ${findings.filter(({ verdict }) => verdict === 'pass').length} of ${findings.length}`)
  const others = Object.entries(columns).flatMap(([name, findings]) => findings.filter(({ verdict }) => verdict !== 'pass').map(({ name: line, verdict, found }) => `- ${line}, ${name}: ${verdict}.${WHY[line] === undefined ? '' : ` ${WHY[line]}`} Found: \`${found}\``))
  return `${INTRODUCTION}
Passed: ${sums.join(', ')}.

| line | | what has to hold | ${Object.keys(columns).join(' | ')} |
| --- | --- | --- | ${Object.keys(columns).map(() => '---').join(' | ')} |
${rows.join('\n')}

## What does not pass

${others.length === 0 ? 'Nothing.' : others.join('\n')}
`
}

async function write (): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'torchgate-contract-'))
  const endings: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })]
  let rigs = 0
  const surroundings = {
    testdir: () => mkdtempSync(join(folder, `${++rigs}-`)),
    teardown: (end: () => unknown) => { endings.unshift(end) }
  } as unknown as Surroundings
  try {
    const columns: Record<string, Finding[]> = {}
    for (const [name, open] of Object.entries({ local, upstream })) columns[name] = await proveAll(CHECKS, await open(surroundings))
    writeFileSync(join(import.meta.dirname, '../../docs/conformance.md'), pageOf(columns))
  } finally {
    for (const end of endings) await end()
  }
}

if (import.meta.main) await write()
