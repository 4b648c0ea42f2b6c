import type { Config, DataClass, Locality } from '../config/schema.ts'

/** Distance from the owner of a prompt; a call may travel no farther than its boundary. */
const DISTANCE: Readonly<Record<Locality, number>> = { local: 0, domain: 1, cloud: 2 }

export function isWithin (boundary: Locality, place: Locality): boolean {
  return DISTANCE[place] <= DISTANCE[boundary]
}

export function nearer (a: Locality, b: Locality): Locality {
  return DISTANCE[a] <= DISTANCE[b] ? a : b
}

/** How much farther `a` is than `b`; for sorting nearest first. */
export function byDistance (a: Locality, b: Locality): number {
  return DISTANCE[a] - DISTANCE[b]
}

/** The farthest place a call may go: the nearer of the tenant's boundary and that of the call's class. */
export function boundaryOf (tenant: Locality, dataClass: DataClass, boundaries: Config['policy']['boundaries']): Locality {
  return nearer(tenant, boundaries[dataClass])
}
