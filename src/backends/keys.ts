/**
 * Several keys of one backend. What a provider says about a key, that it is throttled or dead, rests that key alone; the backend
 * rests with them only when all of them do. Which key answered is told by its name, never by the secret.
 */
import type { GatewayError } from '../errors.ts'
import { isDeadKey, type Failure, type Rest } from './breaker.ts'
import { HealthRecord } from './health.ts'

export interface ApiKey {
  readonly name: string
  readonly secret: string
  /** How often it is taken, beside the others; 0 only when no other can be. */
  readonly weight: number
}

export interface KeyState extends Partial<Rest> { readonly name: string, readonly state: 'ready' | 'down' }

/** Of a throttled key, where the provider does not say how long to wait. */
const THROTTLED_REST_S = 5

export class Key {
  readonly name: string
  readonly secret: string
  readonly weight: number
  readonly health = new HealthRecord()
  /** What it is ahead of its share of the calls. */
  turn = 0

  constructor ({ name, secret, weight }: ApiKey) {
    this.name = name
    this.secret = secret
    this.weight = weight
  }
}

/** All times in milliseconds of a clock that never jumps. */
export class Keys {
  readonly #keys: readonly Key[]

  constructor (keys: readonly ApiKey[]) {
    this.#keys = keys.map(key => new Key(key))
  }

  /**
   * The next key by weight, in even turns (the "smooth weighted round-robin" of nginx), of those that do not rest for `model`.
   * @param tried are left out
   */
  take (model: string, now: number, tried: ReadonlySet<Key>): Key | null {
    const awake = this.#keys.filter(key => !tried.has(key) && key.health.rest(model, now) === null)
    const weighted = awake.filter(({ weight }) => weight > 0)
    const able = weighted.length > 0 ? weighted : awake
    const total = able.reduce((sum, { weight }) => sum + weight, 0)
    for (const key of able) key.turn += key.weight
    const next = able.reduce<Key | null>((best, key) => best === null || key.turn > best.turn ? key : best, null)
    if (next !== null) next.turn -= total
    return next
  }

  /** Null while one of them can be used; else until the first can. */
  rest (model: string, now: number): Rest | null {
    let first: Rest | null = null
    for (const { health } of this.#keys) {
      const rest = health.rest(model, now)
      if (rest === null) return null
      if (first === null || rest.retryAfterS < first.retryAfterS) first = rest
    }
    return first
  }

  /** @returns whether the failure was about the key. Then the backend itself may be well. */
  failed ({ health }: Key, model: string, failure: GatewayError, now: number): boolean {
    if (failure.code !== 'backend_rate_limited' && failure.code !== 'backend_auth_failed') return false
    const { code, retryAfterS, cause } = failure
    health.failed(model, { code, cause, retryAfterS: code === 'backend_rate_limited' ? Math.max(1, retryAfterS ?? THROTTLED_REST_S) : retryAfterS }, now)
    return true
  }

  answered ({ health }: Key, model: string, now: number): void {
    health.answered(model, now)
  }

  states (model: string, now: number): KeyState[] {
    return this.#keys.map(({ name, health }) => {
      const rest = health.rest(model, now)
      return { name, state: rest === null ? 'ready' : 'down', ...rest }
    })
  }
}

/** Another key may do better. A 403 alone may be about the model or the prompt. */
export function isAboutKey (failure: Failure): boolean {
  return failure.code === 'backend_rate_limited' || isDeadKey(failure)
}
