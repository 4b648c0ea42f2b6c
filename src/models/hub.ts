/**
 * The part of the Hugging Face hub's protocol that downloads need: the listing of a repository, and where a file lies.
 * Source: https://huggingface.co/docs/hub/api (tree), https://huggingface.co/docs/xet/file-id (resolve), read 2026-11-22.
 */
import { assertGiven, webOrigin, type Origin } from './fetch.ts'
import { persistently, type RetryOptions } from './retry.ts'
import { fileNameOf, printable, type HubSource } from './source.ts'
import { get, isLoopback, textOf, type Token } from './web.ts'

export interface Hub {
  readonly url: URL
  readonly token: Token | null
}

const DEFAULT_ENDPOINT = 'https://huggingface.co'

/** @throws Error when HF_ENDPOINT is no address that a token may be sent to */
export function hubOf ({ HF_ENDPOINT = '', HF_TOKEN = '' }: NodeJS.ProcessEnv): Hub {
  const text = HF_ENDPOINT.trim() || DEFAULT_ENDPOINT
  if (!URL.canParse(text)) throw new Error('HF_ENDPOINT: expected a URL such as https://huggingface.co.')
  const url = new URL(text)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url))) throw new Error(`HF_ENDPOINT: expected https://, got ${url.protocol}//${url.host}.`)
  if (url.username + url.password + url.search + url.hash !== '') throw new Error('HF_ENDPOINT: expected an address without user name, password, ?query and #fragment.')
  const value = HF_TOKEN.trim()
  if (!/^[\x21-\x7e]*$/.test(value)) throw new Error('HF_TOKEN: expected printable ASCII without spaces.')
  return { url, token: value === '' ? null : { origin: url.origin, value } }
}

export interface HubFile {
  readonly path: string
  readonly bytes: number
  /** Null for a file that is not kept as a large one. */
  readonly sha256: string | null
}

const MAX_PAGES = 50

/** Every file of a repository, at a revision. */
export async function listFiles (hub: Hub, source: HubSource, options: RetryOptions): Promise<HubFile[]> {
  const files: HubFile[] = []
  let next: URL | null = new URL(`${pathOf(hub, 'api/models', source.repository)}/tree/${encodeURIComponent(source.revision)}?recursive=true`)
  for (let pages = 0; next !== null; pages++) {
    if (pages === MAX_PAGES) throw new Error(`${source.repository} has more files than fit ${MAX_PAGES} pages; name the file itself: hf:${source.repository}/FILE.gguf.`)
    const page = next
    const { text, link, url } = await persistently(() => readPage(hub, source, page, options.signal), options)
    files.push(...parseTree(text, url.host))
    next = nextPage(link, url)
  }
  return files
}

function pathOf ({ url }: Hub, ...parts: string[]): string {
  return [url.href.replace(/\/+$/, ''), ...parts.map(part => part.split('/').map(encodeURIComponent).join('/'))].join('/')
}

async function readPage (hub: Hub, source: HubSource, page: URL, signal: AbortSignal) {
  const reply = await get(page, { signal, token: hub.token })
  try {
    assertGiven(reply, page, status => refusalOf(hub, source, status))
    return { text: await textOf(reply), link: reply.headers['link'], url: reply.url }
  } finally {
    reply.body.destroy()
  }
}

/** What the hub's refusals mean. It answers 401 for a repository that does not exist, too, so as not to tell private ones. */
export function refusalOf ({ url, token }: Hub, { repository, revision }: HubSource, status: number): string | null {
  const key = token === null
    ? 'If it is private or gated, ask for access there and set HF_TOKEN to a token that may read it.'
    : 'HF_TOKEN was sent and does not open it: it has run out, may not read this repository, or the terms there are not agreed to yet.'
  if (status === 401) return `${url.host} does not show ${repository} to us (401): it does not exist, or is not public. ${key}`
  if (status === 403) return `${url.host} refuses ${repository} (403). ${key}`
  if (status === 404) return `${url.host} has no repository ${repository}, or it has no revision ${revision} (404).`
  return null
}

function parseTree (text: string, host: string): HubFile[] {
  const value = parsed(text, host)
  if (!Array.isArray(value)) throw new Error(`${host}: the listing of the repository is no list.`)
  return (value as Record<string, unknown>[]).flatMap(item => {
    const { type, path, size, lfs } = item ?? {}
    if (type !== 'file' || typeof path !== 'string' || typeof size !== 'number' || !Number.isSafeInteger(size)) return []
    return [{ path, bytes: size, sha256: digestOf(lfs) }]
  })
}

function parsed (text: string, host: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Error(`${host}: the listing of the repository is no JSON; is HF_ENDPOINT a hub?`, { cause })
  }
}

function digestOf (lfs: unknown): string | null {
  const oid = typeof lfs === 'object' && lfs !== null && 'oid' in lfs ? String(lfs.oid) : ''
  return /^(?:sha256:)?([0-9a-f]{64})$/.exec(oid)?.[1] ?? null
}

/** `Link: <https://…>; rel="next"`, on the same origin, since the token goes there. */
function nextPage (link: string | string[] | undefined, url: URL): URL | null {
  const [, target = ''] = /<([^>]{1,4096})>;\s*rel="next"/.exec(String(link ?? '')) ?? []
  if (target === '' || !URL.canParse(target, url)) return null
  const next = new URL(target, url)
  if (next.origin !== url.origin) throw new Error(`${url.host}: the listing goes on at ${next.host}, which is another server.`)
  return next
}

const MOST_NAMED = 20

/** @throws Error that says what there is, when what was asked for is not there, is ambiguous or is split */
export function chooseFile (files: readonly HubFile[], { repository, quantisation, file }: Pick<HubSource, 'repository' | 'quantisation' | 'file'>): HubFile {
  const found = file !== null ? files.filter(({ path }) => path === file) : candidates(files, quantisation)
  const parts = found.filter(({ path }) => partsOf(path) > 1)
  const whole = found.filter(({ path }) => partsOf(path) === 1)
  const [only] = whole
  if (only !== undefined && whole.length === 1) return only
  const asked = file ?? quantisation ?? 'a GGUF file'
  if (whole.length > 1) {
    throw new Error(`${repository} has ${quantisation === null ? 'several models' : `${whole.length} files for ${quantisation}`}; name one: ${named(whole.map(({ path }) => quantisation === null ? path : `hf:${repository}/${path}`))}.`)
  }
  if (parts.length > 0) {
    throw new Error(`${repository}: ${asked} is split into ${partsOf(parts[0]!.path)} files, and a worker loads one. Choose another quantisation, or join them (llama-gguf-split --merge) and pull the file.`)
  }
  const there = candidates(files, null).filter(({ path }) => partsOf(path) === 1).map(({ path }) => path)
  throw new Error(`${repository} has no ${printable(asked)}; ${there.length === 0 ? 'it has no GGUF file in one piece at all' : `there is ${named(there)}`}.`)
}

/** Models of this quantisation, or all: GGUF files, but for the projectors and drafts that lie beside some. */
function candidates (files: readonly HubFile[], quantisation: string | null): HubFile[] {
  const models = files.filter(({ path }) => /\.gguf$/i.test(path) && !/(^|\/)(mmproj|mtp|imatrix)[-_.]/i.test(path))
  if (quantisation === null) return models
  // Q4_K is no Q4_K_M, and XS no IQ4_XS: a name ends at a dash, a dot or a slash.
  // An underline may stand before it too, unless it could be the end of a longer one.
  const before = /^[a-z]+\d/i.test(quantisation) ? '[-./_]' : '[-./]'
  const wanted = new RegExp(`(^|${before})${quantisation.replaceAll(/[.\\]/g, '\\$&')}(?=[-./]|$)`, 'i')
  return models.filter(({ path }) => wanted.test(path.replace(/\.gguf$/i, '').replace(/-\d{5}-of-\d{5}$/, '')))
}

/** `-00001-of-00003` -> 3; 1 for a file that is whole. */
export function partsOf (path: string): number {
  return Number(/-\d{5}-of-(\d{5})\.gguf$/i.exec(path)?.[1] ?? 1)
}

function named (paths: readonly string[]): string {
  const shown = paths.slice(0, MOST_NAMED).map(path => printable(path)).join(', ')
  return paths.length > MOST_NAMED ? `${shown} and ${paths.length - MOST_NAMED} more` : shown
}

export function hubOrigin (hub: Hub, source: HubSource, { path }: HubFile, idleMs?: number): Origin {
  const url = new URL(`${pathOf(hub, source.repository)}/resolve/${encodeURIComponent(source.revision)}/${path.split('/').map(encodeURIComponent).join('/')}`)
  const refusal = (status: number) => status === 404 ? `${hub.url.host}: ${source.repository} has no file ${printable(fileNameOf(path))} at ${source.revision} any more.` : refusalOf(hub, source, status)
  return webOrigin(url, { token: hub.token, refusal, ...(idleMs === undefined ? {} : { idleMs }) })
}
