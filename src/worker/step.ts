/** What one step computes, and how much of the prompts it takes. Decisions only: batch.ts has the model compute them. */
import type { StepItem } from './engine.ts'
import { isReading, isWaiting, type Slot } from './slot.ts'

/** What a step may take: an answer is cancelled, and an interactive one goes on, between two steps. */
const STEP_MS = 25
/** Fewer at once take llama.cpp three times as long per token (AVX2: 1.5 ms each by 32, 0.5 ms by 64). */
const LEAST_PROMPT_TOKENS = 64
const FIRST_PROMPT_TOKENS = 128

/** Sizes the pieces of prompts so that a step takes STEP_MS, whatever computes. */
export class Pace {
  readonly #batchTokens: number
  #promptTokens: number

  /** @param batchTokens what the engine takes in one step */
  constructor (batchTokens: number) {
    this.#batchTokens = batchTokens
    this.#promptTokens = Math.min(FIRST_PROMPT_TOKENS, batchTokens)
  }

  /** Tokens of prompts that the next step may take, beside `answering` tokens of answers. */
  room (answering: number): number { return Math.min(this.#promptTokens, this.#batchTokens - answering) }

  /** A step of `tokens` took `ms`. */
  learn (tokens: number, ms: number): void {
    if (tokens < LEAST_PROMPT_TOKENS) return
    const fitting = Math.round(tokens * STEP_MS / Math.max(ms, 0.1))
    const smoothed = (this.#promptTokens + Math.min(fitting, this.#promptTokens * 4)) / 2
    this.#promptTokens = Math.min(this.#batchTokens, Math.max(LEAST_PROMPT_TOKENS, Math.round(smoothed)))
  }
}

/**
 * The next token of every answer, or several where they were put in, and in the room that is left one prompt after the other: a prompt is read three
 * times as fast in one large piece as in many small ones. The oldest and the shortest take turns to be the first,
 * so that a short one does not wait for a long one, nor a long one for ever.
 * @param turn number of the step
 */
export function planStep (slots: readonly Slot[], pace: Pace, turn: number): StepItem[] {
  const busy = slots.filter(({ job }) => job !== null && !isWaiting(job))
  const [reading, answering] = [busy.filter(isReading), busy.filter(slot => !isReading(slot))]
  const items: StepItem[] = answering.map(({ id, job }) => ({ slot: id, tokens: job!.next!, sampling: job!.sampling }))
  let room = pace.room(items.reduce((sum, { tokens }) => sum + tokens.length, 0))
  for (const slot of reading.toSorted(turn % 2 === 0 ? oldestFirst : shortestFirst)) {
    if (room <= 0) break
    const item = nextPiece(slot, room)
    items.push(item)
    room -= item.tokens.length
  }
  return items
}

function unread ({ job }: Slot): number { return job!.work.prompt.length - job!.read }
function oldestFirst (a: Slot, b: Slot): number { return a.job!.arrival - b.job!.arrival }
function shortestFirst (a: Slot, b: Slot): number { return unread(a) - unread(b) }

function nextPiece ({ id, job }: Slot, room: number): StepItem {
  const { call, sampling, work: { prompt } } = job!
  const mark = job!.marks.find(at => at > job!.read) ?? Infinity
  const end = Math.min(call.isShared ? prompt.length : prompt.length - 1, job!.read + room, mark)
  return { slot: id, tokens: prompt.slice(job!.read, end), sampling: end === prompt.length ? sampling : null }
}
