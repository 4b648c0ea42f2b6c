import { setImmediate as turn } from 'node:timers/promises'
import type { Draft, Files } from '../files/files.ts'
import type { BatchRow, BatchStore, FileRow } from '../store/store.ts'
import { unanswered } from './line.ts'

export interface FinishParts {
  readonly store: BatchStore
  readonly files: Pick<Files, 'draft'>
  readonly owner: string
  readonly onStatus: OnStatus
}

/** Told of a batch that has begun or ended. */
export interface OnStatus { (facts: { readonly batch: string, readonly tenant: string, readonly status: string }): void }

const LINES_AT_ONCE = 200
const CLEARED_AT_ONCE = 500

/**
 * Writes the files of a batch that this owner finishes, and ends it. Until then every answer lies in the store, so a gateway that is
 * killed here begins again.
 * @throws what `signal` was aborted with
 */
export async function finish (parts: FinishParts, batch: BatchRow, signal: AbortSignal): Promise<void> {
  const { store, owner, onStatus } = parts
  await using output = new Sheet(parts.files)
  await using errors = new Sheet(parts.files)
  let left = 0
  const missing = batch.status === 'cancelling' ? 'cancelled' : 'expired'
  // Cancelled before it began, it has no requests yet.
  for (let after = batch.inProgressAt === null ? Infinity : 0; ;) {
    signal.throwIfAborted()
    const lines = await store.lines(batch.id, after, LINES_AT_ONCE)
    if (lines.length === 0) break
    after = lines.at(-1)!.line
    left += lines.filter(({ answer }) => answer === null).length
    await output.add(lines.flatMap(({ state, answer }) => state === 'completed' ? [answer!] : []))
    await errors.add(lines.flatMap(({ customId, state, answer }) => state === 'completed' ? [] : [answer ?? unanswered(customId, missing)]))
  }
  const status = batch.status === 'cancelling' ? 'cancelled' : left > 0 ? 'expired' : 'completed'
  const end = { status, output: await output.keep(batch, 'output'), errors: await errors.keep(batch, 'error') } as const
  if (!await store.finish(batch.id, owner, new Date(), end)) return
  output.belongsToBatch()
  errors.belongsToBatch()
  onStatus({ batch: batch.id, tenant: batch.tenant, status })
  await clear(store, batch.id)
}

/** Deletes all lines of a batch, not all in one go. */
export async function clear (store: BatchStore, batchId: string): Promise<void> {
  while (await store.clearLines(batchId, CLEARED_AT_ONCE) > 0) await turn()
}

/** A file that there is only when something stands in it. What does not become a file of the batch is deleted. */
class Sheet implements AsyncDisposable {
  readonly #files: Pick<Files, 'draft'>
  #draft: Draft | null = null
  #isKept = false

  constructor (files: Pick<Files, 'draft'>) { this.#files = files }

  async add (lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return
    this.#draft ??= await this.#files.draft()
    await this.#draft.write(Buffer.from(`${lines.join('\n')}\n`))
  }

  async keep (batch: BatchRow, what: 'output' | 'error'): Promise<FileRow | null> {
    const { tenant, dataClass, outputLastsS: lastsS } = batch
    return await this.#draft?.keep({ tenant, dataClass, lastsS, purpose: 'batch_output', filename: `${batch.id}_${what}.jsonl` }) ?? null
  }

  belongsToBatch (): void { this.#isKept = true }

  async [Symbol.asyncDispose] (): Promise<void> {
    if (!this.#isKept) await this.#draft?.discard()
  }
}
