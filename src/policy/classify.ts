import { DATA_CLASSES, type DataClass } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'

const RANK: ReadonlyMap<string, number> = new Map(DATA_CLASSES.map((name, rank) => [name, rank]))

/**
 * The class of a call: the highest of the tenant's floor and what the caller says with `x-torchgate-class`.
 * A source can only raise it.
 * @throws GatewayError `invalid_value` for a class that does not exist: guessing one could lower it
 */
export function classOf (floor: DataClass, claimed: string | undefined): DataClass {
  if (claimed === undefined) return floor
  const rank = RANK.get(claimed)
  if (rank === undefined) {
    throw new GatewayError('invalid_value', `x-torchgate-class: expected one of ${DATA_CLASSES.join(', ')}.`, { param: 'x-torchgate-class' })
  }
  return rank > RANK.get(floor)! ? DATA_CLASSES[rank]! : floor
}
