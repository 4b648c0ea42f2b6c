import { problemLine } from '../config/problems.ts'
import type { Gateway } from '../gateway.ts'
import { assertSurroundings, configurationFor, type ConfigurationOptions } from './configuration.ts'
import { reported, say, told } from './reported.ts'
import { stopSignal } from './signals.ts'
import { welcome } from './welcome.ts'

/**
 * `torchgate start`: runs until a signal. The first one drains and ends with code 0, a second one ends at once.
 * What a person reads goes to standard error; standard output has the log and nothing else.
 * @returns the exit code
 */
export async function start (options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<number> {
  const { signal: stopping, exitCode } = stopSignal()
  const code = await reported(async () => {
    const given = configurationFor(options, env)
    for (const warning of given.warnings) say(problemLine(warning))
    const loaded = assertSurroundings(given, env)
    // A mistake in the configuration is told before the rest of the program is loaded.
    const { openGateway } = await import('../gateway.ts')
    const gateway = await openGateway(loaded.config, { env, revision: loaded.revision })
    // Also when it is to stop already: the first keys are shown now or never.
    say(welcome(gateway, loaded))
    void tellWhenReady(gateway, stopping)
    await aborted(stopping)
    await gateway.close()
  })
  return Math.max(code, exitCode())
}

/** The gateway keeps running when a model cannot be loaded: other targets answer, and the pool tries again. */
async function tellWhenReady (gateway: Gateway, stopping: AbortSignal): Promise<void> {
  try {
    await gateway.whenReady(stopping)
    say(`Ready after ${process.uptime().toFixed(1)} s.`)
  } catch (error) {
    if (!stopping.aborted) say(told(error))
  }
}

function aborted (signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => { signal.addEventListener('abort', () => { resolve() }, { once: true }) })
}
