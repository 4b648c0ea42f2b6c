/** What a worker will take, told before it loads. */
import type { GgufHead } from './gguf.ts'

/** A process with its runtime and its buffers, before it has any weights. */
const PROCESS_BYTES = 160 * 1024 * 1024
/** Of one number in the buffers that a step is computed in. */
const STEP_BYTES = 4

export interface MemoryPlan {
  readonly slots: number
  readonly contextTokens: number
  readonly batchTokens: number
}

/**
 * Memory of one worker: weights, the KV cache of all slots, and what a step needs. A little more than is true, since a
 * model that was believed smaller than it is would push others out of memory.
 */
export function estimateBytes (head: Pick<GgufHead, 'fileBytes' | 'cacheBytesPerToken' | 'contextTokens' | 'vocabularySize'>, plan: MemoryPlan): number {
  const contextTokens = Math.min(plan.contextTokens, head.contextTokens ?? Infinity)
  const cache = (head.cacheBytesPerToken ?? 0) * contextTokens * plan.slots
  return PROCESS_BYTES + head.fileBytes + cache + plan.batchTokens * head.vocabularySize * STEP_BYTES
}
