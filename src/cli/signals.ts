import { say } from './reported.ts'

/** The code of sysexits(3) for an internal error, so that a supervisor can tell it from a mistake of the operator's, which is 1. */
const SOFTWARE = 70

export interface Stopping {
  readonly signal: AbortSignal
  /** What to end with: 0 after a signal, 70 after a fault of the program. */
  exitCode (): number
}

/** npm passes on what the terminal has already sent to the whole group, so one Ctrl-C can arrive twice. */
const ECHO_MS = 1_000

/**
 * Aborts at the first SIGINT or SIGTERM, and at an exception that nobody caught. A second signal, after a second or more,
 * ends the process at once with code 1, a second exception with 70.
 * The handlers stay: without them the second signal would end the process without its `exit` event, and leave workers.
 */
export function stopSignal (): Stopping {
  const stopping = new AbortController()
  let firstMs = 0
  let code = 0
  const stop = (signal: NodeJS.Signals) => {
    if (!stopping.signal.aborted) {
      firstMs = performance.now()
      say(`torchgate: ${signal}: finishing running calls; a second signal exits at once.`)
      stopping.abort()
    } else if (performance.now() - firstMs >= ECHO_MS) process.exit(1)
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  // Nobody knows what is still right after it, so it ends; but the calls of others are not to blame, and end first.
  process.on('uncaughtException', error => {
    if (code !== 0) process.exit(SOFTWARE)
    code = SOFTWARE
    say(`torchgate: a fault of the program: ${whereOf(error)}\ntorchgate: finishing running calls, then ending with code ${SOFTWARE}.`)
    stopping.abort()
  })
  return { signal: stopping.signal, exitCode: () => code }
}

/** Kind and places. The message stays out: it may quote what the program was reading, a prompt for example. */
function whereOf (error: unknown): string {
  if (!(error instanceof Error)) return `${typeof error} thrown`
  const places = (error.stack ?? '').split('\n').filter(line => /^\s+at /.test(line))
  return [error.name, ...places].join('\n')
}
