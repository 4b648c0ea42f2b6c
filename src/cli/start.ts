import { ConfigError } from '../config/problems.ts'
import { openGateway, type Gateway } from '../gateway.ts'
import { assertFiles, configurationFor, type ConfigurationOptions } from './configuration.ts'
import { welcome } from './welcome.ts'

/** `torchgate start`: runs until a signal. The first one drains and exits 0, a second one exits at once. */
export async function start (options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<void> {
  let gateway: Gateway
  try {
    const loaded = configurationFor(options, env)
    assertFiles(loaded)
    for (const { message, path } of loaded.warnings) process.stderr.write(`torchgate: warning: ${path}: ${message}\n`)
    gateway = await openGateway(loaded.config, { env, revision: loaded.revision })
    stopOnSignals(gateway)
    process.stdout.write(welcome(gateway, loaded))
    await gateway.whenReady(new AbortController().signal)
    process.stdout.write(`Ready after ${(process.uptime()).toFixed(1)} s.\n`)
  } catch (error) {
    process.stderr.write(`${told(error)}\n`)
    process.exitCode = 1
  }
}

/** The user's own mistakes without a stack. */
function told (error: unknown): string {
  if (error instanceof ConfigError) return error.message
  return `torchgate: ${error instanceof Error ? error.message : String(error)}`
}

function stopOnSignals (gateway: Gateway): void {
  let stopping = false
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(1)
    stopping = true
    process.stderr.write(`torchgate: ${signal}: finishing running calls; a second signal exits at once.\n`)
    gateway.close().then(() => process.exit(0), error => {
      process.stderr.write(`${told(error)}\n`)
      process.exit(1)
    })
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
}
