/**
 * Ids of responses and of their items. An item's id has that of its response in it, so that a reference to an item is found
 * by one look into the store, and no list of all items has to be kept.
 */
import { randomBytes } from 'node:crypto'

const RANDOM_BYTES = 24
/** Items of a request are numbered from here, those of its answer from 0. */
export const FIRST_INPUT = 0x8000

export function newId (prefix: string): string { return `${prefix}_${randomBytes(RANDOM_BYTES).toString('hex')}` }

/** @param index of the item in the answer; from `FIRST_INPUT` on, in the request */
export function itemId (prefix: string, response: string, index: number): string {
  return `${prefix}_${response.slice(response.indexOf('_') + 1)}${index.toString(16).padStart(4, '0')}`
}

const ITEM = new RegExp(`^[a-z]{1,8}_([0-9a-f]{${RANDOM_BYTES * 2}})[0-9a-f]{4}$`)

/** The response that an item belongs to; null where the id tells none, as that of an item made elsewhere. */
export function responseOfItem (id: string): string | null {
  const hex = ITEM.exec(id)?.[1]
  return hex === undefined ? null : `resp_${hex}`
}
