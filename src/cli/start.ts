import { ConfigError, problemLine } from '../config/problems.ts'
import { openGateway, type Gateway } from '../gateway.ts'
import { assertSurroundings, configurationFor, type ConfigurationOptions } from './configuration.ts'
import { welcome } from './welcome.ts'

/**
 * `torchgate start`: runs until a signal. The first one drains and exits 0, a second one exits at once.
 * What a person reads goes to standard error; standard output has the log and nothing else.
 */
export async function start (options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<void> {
  const stopping = new AbortController()
  try {
    const loaded = configurationFor(options, env)
    for (const warning of loaded.warnings) say(problemLine(warning))
    assertSurroundings(loaded, env)
    const gateway = await openGateway(loaded.config, { env, revision: loaded.revision })
    stopOnSignals(gateway, stopping)
    say(welcome(gateway, loaded))
    await ready(gateway, stopping.signal)
  } catch (error) {
    say(told(error))
    process.exitCode = 1
  }
}

/** The gateway keeps running when a model cannot be loaded: other targets answer, and the pool tries again. */
async function ready (gateway: Gateway, stopping: AbortSignal): Promise<void> {
  try {
    await gateway.whenReady(stopping)
    say(`Ready after ${process.uptime().toFixed(1)} s.`)
  } catch (error) {
    if (!stopping.aborted) say(told(error))
  }
}

/** The user's own mistakes without a stack. */
function told (error: unknown): string {
  if (error instanceof ConfigError) return error.message
  return `torchgate: ${error instanceof Error ? error.message : String(error)}`
}

function say (text: string): void {
  process.stderr.write(`${text}\n`)
}

function stopOnSignals (gateway: Gateway, stopping: AbortController): void {
  const stop = (signal: NodeJS.Signals) => {
    if (stopping.signal.aborted) process.exit(1)
    stopping.abort()
    say(`torchgate: ${signal}: finishing running calls; a second signal exits at once.`)
    gateway.close().then(() => process.exit(0), error => {
      say(told(error))
      process.exit(1)
    })
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
}
