/** The document as a page for people. It has no script and loads nothing, from here or from elsewhere. */
import { createHash } from 'node:crypto'
import type { Schema } from '../../wire/schema.ts'

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
summary { cursor: pointer; padding: .3rem 0 } code { font: 13px ui-monospace, monospace }
b { display: inline-block; width: 4.5rem } pre { overflow: auto; padding: .8rem; border: 1px solid #8888; border-radius: 4px }
`

/** Goes with the page: whatever found its way into it could do nothing. */
export const POLICY = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

type Operation = Readonly<Record<string, unknown>> & { readonly summary: string }

interface Document {
  readonly info: { readonly title: string, readonly description: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

export function pageOf (document: Schema): string {
  const { info, paths, components } = document as unknown as Document
  const operations = Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => entry(method, path, operation)))
  const schemas = Object.entries(components.schemas).map(([name, schema]) => folded(`<code>${escaped(name)}</code>`, schema))
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escaped(info.title)}</title><style>${STYLE}</style></head>
<body><h1>${escaped(info.title)}</h1><p>${escaped(info.description)}</p><p><a href="/openapi.json">openapi.json</a></p>
<h2>Routes</h2>${operations.join('\n')}
<h2>Answers</h2>${schemas.join('\n')}
</body></html>
`
}

function entry (method: string, path: string, { summary, ...rest }: Operation): string {
  return folded(`<code><b>${escaped(method.toUpperCase())}</b>${escaped(path)}</code> ${escaped(summary)}`, rest)
}

function folded (head: string, value: object): string {
  return `<details><summary>${head}</summary><pre><code>${escaped(JSON.stringify(value, null, 2))}</code></pre></details>`
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

export function escaped (text: string): string { return text.replace(/[&<>"']/g, character => ENTITIES[character]!) }
