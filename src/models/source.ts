/** Where a model comes from, as an operator writes it. Pure: nothing is looked up here. */
import { basename, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isLoopback } from './web.ts'

export type Source = HubSource | UrlSource | FileSource

/** `hf:owner/repo:Q4_K_M`, `hf:owner/repo/file.gguf`, either with `@revision` at its end. */
export interface HubSource {
  readonly kind: 'hub'
  /** The same for the same thing: two pulls of one source are versions of one model. */
  readonly id: string
  readonly repository: string
  /** Quantisation or file, whichever was named; null takes the only one there is. */
  readonly quantisation: string | null
  readonly file: string | null
  readonly revision: string
}

export interface UrlSource {
  readonly kind: 'url'
  /** Without the query, in which a signature may stand. */
  readonly id: string
  readonly url: URL
}

export interface FileSource { readonly kind: 'file', readonly id: string, readonly path: string }

const HUB = /^hf:([\w.-]{1,96}\/[\w.-]{1,96})((?:\/[^@:\s]{1,512})?)(?::([\w.-]{1,64}))?(?:@([\w./-]{1,128}))?$/
const FORMS = 'hf:OWNER/REPO:QUANTISATION, https://… or a file'

/** @throws Error that says which forms there are */
export function parseSource (text: string): Source {
  if (/^hf:/i.test(text)) return hubSource(text)
  if (/^file:\/\//i.test(text)) return fileSource(fileURLToPath(text))
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return urlSource(text)
  if (text === '') throw new Error(`nothing is named; expected ${FORMS}.`)
  return fileSource(text)
}

function hubSource (text: string): HubSource {
  const [whole, repository = '', rest = '', quantisation = null, revision = 'main'] = HUB.exec(text) ?? []
  const file = rest === '' ? null : rest.slice(1)
  const steps = [...repository.split('/'), ...rest.slice(1).split('/'), ...revision.split('/')]
  if (whole === undefined || (file !== null && quantisation !== null) || steps.some(step => step === '.' || step === '..')) {
    throw new Error(`${printable(text)} names nothing on the hub; expected hf:OWNER/REPO:QUANTISATION or hf:OWNER/REPO/FILE.gguf, with @REVISION behind it if you like.`)
  }
  return { kind: 'hub', id: text.replace(/@[^@]*$/, ''), repository, quantisation, file, revision }
}

function urlSource (text: string): UrlSource {
  // The text itself stays out of the messages: what stands before the @ or behind the ? is often a key.
  if (!URL.canParse(text)) throw new Error(`the URL cannot be read; expected ${FORMS}.`)
  const url = new URL(text)
  if (url.username + url.password !== '') throw new Error(`${url.host}: expected a URL without user name and password.`)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url))) {
    throw new Error(`${url.protocol}//${url.host}: expected https://, because what comes over ${url.protocol}// can be changed on its way.`)
  }
  return { kind: 'url', id: `${url.origin}${url.pathname}`, url }
}

function fileSource (path: string): FileSource {
  return { kind: 'file', id: resolve(path), path: resolve(path) }
}

/** The name of the file a source ends in; what a model is called after. */
export function fileNameOf (path: string): string {
  try {
    return basename(decodeURIComponent(path))
  } catch {
    // A stray % is part of the name then.
    return basename(path)
  }
}

/** Text from elsewhere as it may stand on a terminal: no control characters, never long. */
export function printable (text: string, most = 200): string {
  const plain = text.replaceAll(/[^\P{C}]/gu, '?')
  return plain.length > most ? `${plain.slice(0, most)}…` : plain
}
