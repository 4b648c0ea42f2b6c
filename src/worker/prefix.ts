/** Which slot answers a prompt, so that as much of it as possible is already computed. */

/** What a slot still holds of earlier prompts and answers. */
export interface Cached {
  readonly tokens: readonly number[]
  /** Whose they are. Another domain never profits from them, not even by being faster. */
  readonly isolation: string
  /** Rises with every use; 0 for a slot that was never used. */
  readonly usedAt: number
}

export interface Choice<S extends Cached> {
  readonly slot: S
  /** Tokens of the prompt to keep; the last one is always computed, because its logits are wanted. */
  readonly keep: number
}

/**
 * A shorter match is no reason to give up what a slot holds: every conversation begins with the same few tokens of the
 * chat template.
 */
const WORTHWHILE_TOKENS = 16

/**
 * The longest worthwhile match inside the isolation domain, then the slot used longest ago.
 * @returns null when no slot is free
 */
export function chooseSlot<S extends Cached> (free: readonly S[], prompt: readonly number[], isolation: string): Choice<S> | null {
  let best: Choice<S> | null = null
  let bestScore = -1
  for (const slot of free) {
    const keep = slot.isolation === isolation ? Math.min(commonPrefix(slot.tokens, prompt), prompt.length - 1) : 0
    const score = keep >= WORTHWHILE_TOKENS || keep * 2 >= prompt.length ? keep : 0
    if (best === null || score > bestScore || (score === bestScore && slot.usedAt < best.slot.usedAt)) {
      best = { slot, keep }
      bestScore = score
    }
  }
  return best
}

/**
 * Where to mark the slot while a prompt is read, so that later ones can begin there: where it differs from the prompt
 * before, since that is where those in between differ, too; and before its last token, for what goes on from it.
 * @param keep tokens in common with what the slot held. @param kept of these, those that are still there
 */
export function marksFor (length: number, keep: number, kept: number): number[] {
  const isShared = keep >= WORTHWHILE_TOKENS && keep < length - 1
  return [...isShared ? [keep] : [], length - 1].filter(at => at > kept)
}

export function commonPrefix (a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length)
  let length = 0
  while (length < most && a[length] === b[length]) length++
  return length
}
