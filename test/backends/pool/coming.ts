/** What the tests of models that come and go share. Scripted workers: each takes 1000 bytes, by estimate and by its own account. */
import type { Test } from 'tap'
import type { ModelState } from '../../../src/backends/pool/place.ts'
import { openPool, type Opened, type PoolParts } from './parts.ts'

export const demand = { load: 'demand', keepAliveMs: 60_000 } as const
/** Two models and room for one. */
export const PAIR: PoolParts = { models: [{ ...demand, name: 'a' }, { ...demand, name: 'b' }], memoryBytes: 1500 }

export const open = (t: Test, parts: PoolParts, bytes = 1000): Opened => openPool(t, parts, { estimate: () => bytes })
export const stateOf = ({ pool }: Opened, name: string): ModelState | undefined => pool.status().models.find(({ model }) => model === name)?.state
export const loads = ({ events }: Opened) => events.filter(({ kind }) => kind === 'workerReady').map(({ model }) => model)
export const unloads = ({ events }: Opened) => events.filter(({ kind }) => kind === 'modelUnloaded').map(({ model, reason }) => `${model} ${reason}`)
