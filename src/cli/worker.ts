import { thinkingTokensOf } from '../worker/effort.ts'
import { runWorker, type WorkerOptions } from '../worker/run.ts'

/** As the command line has them: no flag gives a boolean and a kind. */
export interface WorkerCommand extends Omit<WorkerOptions, 'gpu' | 'thinkingTokens'> {
  readonly gpu: Exclude<WorkerOptions['gpu'], false> | 'false'
  readonly thinkingTokens?: string
}

/**
 * `torchgate worker`: one model in this process, until it is told to stop.
 * @returns the exit code. The caller exits with it at once: native memory is given back by the end of the process.
 */
export function worker ({ gpu, thinkingTokens = '', ...options }: WorkerCommand): Promise<number> {
  return runWorker({ ...options, gpu: gpu === 'false' ? false : gpu, thinkingTokens: thinkingTokensOf(thinkingTokens) })
}
