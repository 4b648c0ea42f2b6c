import type { WorkerState } from './status.ts'

/** What the choice of a worker looks at. */
export interface Candidate {
  readonly state: WorkerState
  readonly slots: number
  readonly busySlots: number
  /** Isolation domains whose prompts the worker may still have cached → when it served them last, as a rising number. */
  readonly served: ReadonlyMap<string, number>
}

/**
 * A model as the pool sees it: `unloaded` holds no memory, `unloading` holds it until its processes have ended, `down` is
 * given up for a while.
 */
export type ModelState = 'unloaded' | 'loading' | 'ready' | 'unloading' | 'down'

export interface ModelView<C extends Candidate = Candidate> {
  readonly name: string
  readonly state: ModelState
  readonly workers: readonly C[]
  /** What all its workers take once they are loaded: as measured, else as estimated. */
  readonly needBytes: number
  /** What its processes take now. */
  readonly heldBytes: number
  readonly isPinned: boolean
  /** No call holds one of its slots, and none that it may still begin waits for one. */
  readonly isIdle: boolean
  /** It may begin calls: no other model waits for its memory, or its turn is not over. */
  readonly isOpen: boolean
  /** When its last call ended, as a rising number; 0 before. */
  readonly usedAt: number
}

export interface PoolView {
  /** Infinity without a limit. */
  readonly memoryBytes: number
  readonly models: readonly ModelView[]
}

export interface Want<C extends Candidate = Candidate> {
  readonly model: ModelView<C>
  readonly isolation: string
  readonly slots: number
}

export type Placement<C extends Candidate = Candidate> =
  | { readonly kind: 'run', readonly worker: C }
  /** `drain`: models in the way that have calls to finish before they can be unloaded. */
  | { readonly kind: 'wait', readonly drain: readonly string[] }
  /** `evict`: idle models that are unloaded first. */
  | { readonly kind: 'load', readonly evict: readonly string[] }
  /** It never fits beside what is pinned. */
  | { readonly kind: 'refuse', readonly needBytes: number, readonly pinnedBytes: number }

const WAIT = { kind: 'wait', drain: [] } as const

/** What is to be done for a call. Pure: the same view, the same answer. */
export function place<C extends Candidate> (view: PoolView, { model, isolation, slots }: Want<C>): Placement<C> {
  const worker = model.isOpen ? pick(model.workers, isolation, slots) : null
  if (worker !== null) return { kind: 'run', worker }
  return model.state === 'unloaded' ? room(view, model) : WAIT
}

/**
 * How memory is found for a model that is not loaded. Only idle models are unloaded, the one used longest ago first and
 * pinned ones never; where they do not suffice, busy ones are drained in the same order. What is on its way out counts
 * as free soon, so that no more is unloaded than has to be.
 */
export function room (view: PoolView, wanted: ModelView): Exclude<Placement<never>, { kind: 'run' }> {
  const others = view.models.filter(model => model !== wanted && model.heldBytes > 0)
  const pinnedBytes = sum(others.filter(({ isPinned }) => isPinned))
  if (wanted.needBytes > view.memoryBytes - pinnedBytes) return { kind: 'refuse', needBytes: wanted.needBytes, pinnedBytes }
  const missing = wanted.needBytes + sum(others) - view.memoryBytes
  if (missing <= 0) return { kind: 'load', evict: [] }
  const soon = sum(others.filter(({ state }) => state === 'unloading'))
  if (missing <= soon) return WAIT
  const victims = victimsFor(missing - soon, others)
  const busy = victims.filter(({ isIdle }) => !isIdle)
  return busy.length > 0 ? { kind: 'wait', drain: busy.map(({ name }) => name) } : { kind: 'load', evict: victims.map(({ name }) => name) }
}

/** Idle ones first; a model that is being drained already before one that is not. */
function victimsFor (missing: number, others: readonly ModelView[]): ModelView[] {
  const inOrder = others.filter(({ isPinned, state }) => !isPinned && state !== 'unloading')
    .toSorted((a, b) => Number(b.isIdle) - Number(a.isIdle) || Number(a.isOpen) - Number(b.isOpen) || a.usedAt - b.usedAt)
  const victims: ModelView[] = []
  for (let freed = 0; freed < missing;) {
    const next = inOrder[victims.length]
    if (next === undefined) return victims
    victims.push(next)
    freed += next.heldBytes
  }
  return victims
}

function sum (models: readonly ModelView[]): number {
  return models.reduce((bytes, { heldBytes }) => bytes + heldBytes, 0)
}

/**
 * The ready worker with the most free slots; among equals the one that served this domain last, because its prompt
 * cache may fit, then the first.
 * @returns null when no ready worker has `slots` free ones
 */
export function pick<C extends Candidate> (workers: readonly C[], isolation: string, slots = 1): C | null {
  let best: C | null = null
  for (const worker of workers) {
    if (freeSlots(worker) >= slots && (best === null || isBetter(worker, best, isolation))) best = worker
  }
  return best
}

export function freeSlots (worker: Candidate): number {
  return worker.state === 'ready' ? Math.max(0, worker.slots - worker.busySlots) : 0
}

function isBetter (one: Candidate, other: Candidate, isolation: string): boolean {
  const more = freeSlots(one) - freeSlots(other)
  return more > 0 || (more === 0 && (one.served.get(isolation) ?? 0) > (other.served.get(isolation) ?? 0))
}
