/** The reference pages, printed from the tables in the code. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { configurationPage, configurationSchema, table } from '../config/print.ts'
import { ERRORS } from '../errors.ts'
import { maxSeries, METRICS, type MetricRow } from '../telemetry/catalogue.ts'

/** Path from the root of the repository -> what the page must say. */
export const PAGES: Readonly<Record<string, () => string>> = {
  'docs/configuration.md': configurationPage,
  'docs/torchgate.schema.json': configurationSchema,
  'docs/errors.md': errorsPage,
  'docs/metrics.md': metricsPage
}

const ROOT = join(import.meta.dirname, '../..')

export interface DocsOptions {
  /** Only compare. */
  readonly check: boolean
  readonly root?: string
  readonly print?: (line: string) => void
}

/** Writes every page, or says which differ. @returns the exit code: 1 when `check` found a difference */
export async function printDocs ({ check, root = ROOT, print = console.log }: DocsOptions): Promise<0 | 1> {
  let code: 0 | 1 = 0
  for (const [path, page] of Object.entries(PAGES)) {
    const file = join(root, path)
    const text = page()
    if (await textOf(file) === text) continue
    if (check) code = 1
    else await write(file, text)
    print(check ? `${path}: differs from what the code says; run npm run docs` : `${path}: written`)
  }
  return code
}

async function write (file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, text)
}

/** Null when there is no such file. */
async function textOf (file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return null
    throw thrown
  }
}

export function errorsPage (): string {
  const rows = Object.entries(ERRORS).map(([code, { status, type, fallback, says }]) => [`\`${code}\``, String(status), `\`${type}\``, fallback ? 'yes' : 'no', says])
  return `# Errors

<!-- Printed from src/errors.ts by \`npm run docs\`. Change it there. -->

Every failure has the body that OpenAI's SDKs read:

\`\`\`json
{ "error": { "message": "…", "type": "invalid_request_error", "param": "messages[2].content", "code": "invalid_type" } }
\`\`\`

\`code\` is one of those below, and stable. *May fall back* says whether the next target of the model is tried before the caller sees the
error; policy is never overridden by it. Once content has been sent, the error comes as the last event of the stream instead.

${table(['Code', 'Status', 'Type', 'May fall back', 'Meaning'], rows)}
`
}

export function metricsPage (): string {
  const rows = Object.entries<MetricRow>(METRICS).map(([name, row]) => [`\`${name}\``, row.type, row.unit, labelsOf(row), String(maxSeries(row)), row.help])
  const otel = Object.entries<MetricRow>(METRICS).flatMap(([name, row]) => row.otel === null ? [] : [[`\`${name}\``, `\`${row.otel}\``]])
  return `# Metrics

<!-- Printed from src/telemetry/catalogue.ts by \`npm run docs\`. Change it there. -->

The admin listener serves them at \`/metrics\`. A label in *italics* takes names of this installation (tenants, models, targets, pools,
workers, GPUs). The number of series of each metric is bounded: what goes beyond is counted under \`_other\` or \`_unknown\`.

${table(['Metric', 'Type', 'Unit', 'Labels', 'Series at most', 'Meaning'], rows)}

## Names in OpenTelemetry

${table(['Metric', 'OpenTelemetry'], otel)}
`
}

function labelsOf ({ labels }: MetricRow): string {
  return Object.entries(labels).map(([label, values]) => values === 'names' ? `*${label}*` : `\`${label}\``).join(', ') || 'none'
}
