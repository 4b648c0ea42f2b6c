import type { Backend } from '../backends/backend.ts'
import type { Pool } from '../backends/pool/pool.ts'
import type { PressureReason } from '../listener/pressure.ts'

/** A model that is loaded on demand need not be loaded. */
const USABLE: ReadonlySet<string> = new Set(['ready', 'weak', 'saturated', 'idle'])

export interface Readiness { ready: boolean, checks: Record<string, string> }

/** Ready for traffic: nothing is wrong with the gateway itself, and something could answer. */
export function readiness (wrong: 'draining' | PressureReason | null, pools: readonly Pool[], backends: ReadonlyMap<string, Backend>): Readiness {
  const checks: Record<string, string> = { gateway: wrong === null || wrong === 'draining' ? wrong ?? 'ok' : `overloaded (${wrong})` }
  for (const pool of pools) {
    const loaded = pool.status().models.filter(({ workers }) => workers.some(({ state }) => state === 'ready')).length
    checks[pool.name] = `${loaded} of ${pool.status().models.length} models loaded`
  }
  const isUsable = (pool: Pool) => pool.status().models.some(({ model }) => USABLE.has(pool.availability(model).state))
  const usable = backends.size > pools.length || pools.some(isUsable)
  return { ready: wrong === null && usable, checks }
}
