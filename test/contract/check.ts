/** One line of the contract, and how a server is found to keep it. */
import { Fault, NotServed, show, type Server } from './server.ts'

/** C: a client breaks, or is lied to, where it is not kept. S: what is documented, exactly. */
export type Level = 'C' | 'S'

export interface Check {
  /** `part.line`, the same in every report. */
  readonly name: string
  readonly level: Level
  readonly says: string
  /** Throws `Fault` or `NotServed`, with what was found. */
  prove (server: Server): Promise<void>
}

export type Verdict = 'pass' | 'fail' | 'not served'
export interface Finding { readonly name: string, readonly level: Level, readonly says: string, readonly verdict: Verdict, readonly found: string }

export const core = (name: string, says: string, proof: Check['prove']): Check => ({ name, level: 'C', says, prove: proof })
export const exact = (name: string, says: string, proof: Check['prove']): Check => ({ name, level: 'S', says, prove: proof })

/** One after the other: a small server answers one call at a time, and a verdict does not depend on the others. */
export async function * prove (checks: readonly Check[], server: Server): AsyncGenerator<Finding> {
  for (const { name, level, says, prove: proof } of checks) {
    let verdict: Verdict = 'pass'
    let found = ''
    try {
      await proof(server)
    } catch (error) {
      verdict = error instanceof NotServed ? 'not served' : 'fail'
      found = error instanceof Fault || error instanceof NotServed ? error.message : `the check broke: ${show(String(error))}`
    }
    yield { name, level, says, verdict, found }
  }
}

export async function proveAll (checks: readonly Check[], server: Server): Promise<Finding[]> {
  const findings: Finding[] = []
  for await (const finding of prove(checks, server)) findings.push(finding)
  return findings
}
