import type { PoolLog } from './worker.ts'
import type { PooledModel } from './model.ts'
import { place, room, type PoolView } from './place.ts'

/**
 * Whose turn it is in the memory of a pool: loads the models that calls wait for, and unloads others for them. What is
 * to be done is decided by `place`; here it is done. Models that wait are served in the order in which they began to, so
 * that a large one is not passed by small ones for ever.
 *
 * A load that nobody waits for any more goes on, since the next call is likely to want it; it is broken off as soon as
 * another model needs the memory.
 */
export class Memory implements PoolView {
  readonly memoryBytes: number
  readonly models: readonly PooledModel[]
  readonly #log: PoolLog
  readonly #pool: string
  #isArranging = false
  #isStale = false
  #isClosed = false

  constructor (pool: string, memoryBytes: number, models: readonly PooledModel[], log: PoolLog) {
    this.#pool = pool
    this.memoryBytes = memoryBytes
    this.models = models
    this.#log = log
  }

  get usedBytes (): number { return this.models.reduce((bytes, { heldBytes }) => bytes + heldBytes, 0) }

  /** Loads what is to be loaded with the gateway, pinned models first. Nothing is unloaded for it. */
  start (): void {
    const expected = this.models.filter(({ isExpected }) => isExpected).toSorted((a, b) => Number(b.isPinned) - Number(a.isPinned))
    for (const model of expected) {
      const placement = room(this, model)
      if (placement.kind === 'load' && placement.evict.length === 0) model.load()
      else if (placement.kind !== 'refuse') this.#leaveForLater(model)
      else this.#log({ level: 'error', msg: 'model does not fit into memory', pool: this.#pool, model: model.name, reason: this.refusal(model) })
    }
  }

  /** Could a call for this model, which is not loaded, be answered? */
  isLoadable (model: PooledModel): boolean {
    const { state } = model
    return !this.#isClosed && (state === 'unloaded' || state === 'unloading') && room(this, model).kind !== 'refuse'
  }

  /** Why a model never fits, with the numbers; null when it does. */
  refusal (model: PooledModel): string | null {
    const placement = room(this, model)
    if (placement.kind !== 'refuse') return null
    const { needBytes, pinnedBytes } = placement
    const pinned = pinnedBytes === 0 ? '' : `, of which pinned models take ${pinnedBytes}`
    return `it needs ${needBytes} bytes of memory and ${this.#pool} may use ${this.memoryBytes}${pinned}; raise memoryBytes, or lower slots or contextTokens`
  }

  /** To be called whenever a worker, a slot or a queue has changed. What it does changes more, which it then looks at again. */
  arrange (): void {
    this.#isStale = true
    if (this.#isArranging || this.#isClosed) return
    this.#isArranging = true
    try {
      while (this.#isStale) {
        this.#isStale = false
        this.#arrangeOnce()
      }
    } finally {
      this.#isArranging = false
    }
  }

  close (): void {
    this.#isClosed = true
    for (const model of this.models) model.close()
  }

  #arrangeOnce (): void {
    for (const model of this.models) model.settle()
    const drain = this.#serve()
    for (const model of this.models) {
      if (drain.includes(model.name)) model.beginTurn()
      else model.endTurn()
    }
  }

  /** @returns the models that are in the way of the first one that waits */
  #serve (): readonly string[] {
    for (const model of this.#wanted()) {
      const placement = place(this, { model, isolation: '', slots: 1 })
      if (placement.kind === 'wait') return placement.drain
      // Refused for good when its pinned neighbours came after its calls.
      if (placement.kind === 'refuse') model.admission.changed()
      if (placement.kind !== 'load') continue
      if (placement.evict.length > 0) {
        this.#evict(placement.evict)
        return []
      }
      model.log('model is loaded on demand', { needBytes: model.needBytes })
      model.load()
    }
    return []
  }

  #evict (names: readonly string[]): void {
    for (const model of this.models) if (names.includes(model.name)) model.unload('evicted')
  }

  /** Models that calls wait for and that are not in memory, the one that waits longest first. */
  #wanted (): PooledModel[] {
    for (const model of this.models) {
      const isWanted = model.admission.queued > 0 && (model.state === 'unloaded' || model.state === 'unloading')
      model.wantedSince = isWanted ? model.wantedSince ?? performance.now() : null
    }
    return this.models.filter(({ wantedSince }) => wantedSince !== null).toSorted((a, b) => a.wantedSince! - b.wantedSince!)
  }

  #leaveForLater (model: PooledModel): void {
    model.isExpected = false
    this.#log({ level: 'warn', msg: 'model does not fit beside the others and is loaded when a call wants it', pool: this.#pool, model: model.name, needBytes: model.needBytes })
  }
}
