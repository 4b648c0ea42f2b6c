/**
 * The health of one backend and of each of its models: what a server says or fails to say about one model is counted for that model
 * alone, since behind an aggregator the others may be well.
 */
import { Breaker, isDeadKey, type Failure, type Rest } from './breaker.ts'

/** Names of models come from callers where a public name ends in `*`. */
const MOST_MODELS = 1_000

export class HealthRecord {
  readonly #models = new Map<string, Breaker>()
  readonly #backend = new Breaker()

  /** Null while `model` can be asked. */
  rest (model: string, now: number): Rest | null {
    const [ofBackend, ofModel] = [this.#backend.rest(now), this.#models.get(model)?.rest(now) ?? null]
    if (ofBackend === null || ofModel === null) return ofBackend ?? ofModel
    return ofBackend.retryAfterS > ofModel.retryAfterS ? ofBackend : ofModel
  }

  /** Comes after what is well. */
  isWeak (model: string, now: number): boolean {
    return this.#backend.isWeak(now) || this.#models.get(model)?.isWeak(now) === true
  }

  /** A call goes to it now. */
  asked (model: string, now: number): void {
    this.#backend.asked(now)
    this.#models.get(model)?.asked(now)
  }

  /** `model` gave content. @param firstMs from the start of a stream to its content; null for what is no stream */
  answered (model: string, now: number, firstMs: number | null = null): void {
    this.#backend.succeeded(now, null)
    this.#of(model).succeeded(now, firstMs)
  }

  failed (model: string, failure: Failure, now: number): void {
    if (isOfBackend(failure)) { this.#backend.failed(failure, now); return }
    const breaker = this.#of(model)
    breaker.failed(failure, now)
    // Behind the others, so that the model which has not failed for longest is forgotten first.
    this.#models.delete(model)
    this.#models.set(model, breaker)
  }

  #of (model: string): Breaker {
    const known = this.#models.get(model)
    if (known !== undefined) return known
    const breaker = new Breaker()
    this.#models.set(model, breaker)
    if (this.#models.size > MOST_MODELS) this.#models.delete(this.#models.keys().next().value!)
    return breaker
  }
}

/** No model has heard of the call, or the key that all of them share is dead. */
function isOfBackend (failure: Failure): boolean {
  const { code, cause } = failure
  return code === 'backend_unreachable' || isDeadKey(failure) || (cause instanceof Error && 'code' in cause && cause.code === 'UND_ERR_CONNECT_TIMEOUT')
}
