import { say } from './reported.ts'

/** npm passes on what the terminal has already sent to the whole group, so one Ctrl-C can arrive twice. */
const ECHO_MS = 1_000

/**
 * Aborts at the first SIGINT or SIGTERM. A second one, after a second or more, ends the process at once with code 1.
 * The handlers stay: without them the second signal would end the process without its `exit` event, and leave workers.
 */
export function stopSignal (): AbortSignal {
  const stopping = new AbortController()
  let firstMs = 0
  const stop = (signal: NodeJS.Signals) => {
    if (!stopping.signal.aborted) {
      firstMs = performance.now()
      say(`torchgate: ${signal}: finishing running calls; a second signal exits at once.`)
      stopping.abort()
    } else if (performance.now() - firstMs >= ECHO_MS) process.exit(1)
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  return stopping.signal
}
