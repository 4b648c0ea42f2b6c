import { ConfigError } from '../config/problems.ts'

/** Runs a command and turns what it throws into lines on standard error and the exit code 1; no stack for the user's own mistakes. */
export async function reported (work: () => Promise<void>): Promise<0 | 1> {
  try {
    await work()
    return 0
  } catch (thrown) {
    say(told(thrown))
    return 1
  }
}

/** A configuration's problems begin with their file and line, as compilers have it; the rest with the program's name. */
export function told (thrown: unknown): string {
  if (thrown instanceof ConfigError) return thrown.message
  return `torchgate: ${thrown instanceof Error ? thrown.message : String(thrown)}`
}

/** For a person: standard error. Standard output is for the log and for what can be piped. */
export function say (text: string): void {
  process.stderr.write(`${text}\n`)
}
