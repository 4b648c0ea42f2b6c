/** Which terms a model comes under, and whether the operator has agreed to them. */
import type { GgufHead } from './gguf.ts'

export interface Acceptance { readonly licence: string, readonly acceptedAt: string }

const WITHOUT_MEANING: ReadonlySet<string> = new Set(['', 'other', 'unknown', 'custom', 'none'])
const LONGEST = 64

/**
 * The name of a licence as it is accepted: what the file says, in lower case. A file that says nothing that means
 * anything has a name of its own, so that accepting one such file accepts no other.
 */
export function licenceOf ({ license, licenseName }: Pick<GgufHead, 'license' | 'licenseName'>, sha256: string): string {
  const names = [license, licenseName].map(name => plainly(name ?? ''))
  return names.find(name => !WITHOUT_MEANING.has(name)) ?? `unstated-${sha256.slice(0, 12)}`
}

/** The file is not trusted, and the name is shown and typed: letters, digits and `.+-_`. */
export function plainly (name: string): string {
  return name.trim().toLowerCase().replaceAll(/[^a-z0-9.+_-]+/g, '-').replaceAll(/^-+|-+$/g, '').slice(0, LONGEST)
}

export function isAccepted (licence: string, accepted: readonly Acceptance[]): boolean {
  return accepted.some(acceptance => acceptance.licence === licence)
}

export function withAccepted (accepted: readonly Acceptance[], licences: readonly string[], now: Date): readonly Acceptance[] {
  const fresh = [...new Set(licences)].filter(licence => !isAccepted(licence, accepted))
  return [...accepted, ...fresh.map(licence => ({ licence, acceptedAt: now.toISOString() }))]
}
