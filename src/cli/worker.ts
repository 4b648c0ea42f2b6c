import { runWorker, type WorkerOptions } from '../worker/run.ts'

export type { WorkerOptions } from '../worker/run.ts'

/** `torchgate worker`: one model in this process, until it is told to stop. Ends the process. */
export async function worker (options: WorkerOptions): Promise<never> {
  process.exit(await runWorker(options))
}
