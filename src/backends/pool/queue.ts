/**
 * Waiting calls: first in, first out inside an isolation domain, in turn between domains, so that a domain with a
 * hundred calls delays another domain's next call by one turn. In its turn a domain has as many calls as its weight.
 * What stands behind has its turn when nothing else waits, in the same way.
 * Every operation but `inOrder` is O(1). The owner keeps the bound.
 */
export class FairQueue<T> {
  readonly #weightOf: (domain: string) => number
  readonly #ahead = new Chain<T>()
  readonly #lanes = new Map<string, Lane<T>>()
  readonly #turns = new Chain<Lane<T>>()
  #behind: FairQueue<T> | null = null
  #size = 0

  /** @param weightOf a whole number, 1 or more */
  constructor (weightOf: (domain: string) => number = () => 1) { this.#weightOf = weightOf }

  get size (): number { return this.#size + (this.#behind?.size ?? 0) }

  /** Without what stands behind. */
  get sizeInFront (): number { return this.#size }

  push (domain: string, item: T): Place {
    const lane = this.#lane(domain)
    return this.#placeOf(lane.items, lane.items.append(item), lane)
  }

  /** Ahead of every domain: for a call that has waited before and lost its worker. */
  pushAhead (item: T): Place {
    return this.#placeOf(this.#ahead, this.#ahead.append(item), null)
  }

  /** After every other item, whenever that comes. */
  pushBehind (domain: string, item: T): Place {
    this.#behind ??= new FairQueue(this.#weightOf)
    return this.#behind.push(domain, item)
  }

  /** What `shift` would give. */
  peek (): T | undefined {
    return (this.#ahead.first ?? this.#turns.first?.value.items.first)?.value ?? this.#behind?.peek()
  }

  shift (): T | undefined {
    if (this.#size === 0) return this.#behind?.shift()
    const next = this.peek()
    this.#size--
    if (this.#ahead.first !== null) this.#ahead.remove(this.#ahead.first)
    else this.#takeTurn()
    return next
  }

  #takeTurn (): void {
    const turn = this.#turns.first
    if (turn === null || turn.value.items.first === null) return
    const lane = turn.value
    lane.items.remove(turn.value.items.first)
    if (lane.items.first === null) return this.#close(lane)
    if (--lane.left > 0) return
    this.#turns.remove(turn)
    lane.turn = this.#turns.append(lane)
    lane.left = this.#weightOf(lane.domain)
  }

  /** The first `most` in the order in which `shift` would give them. */
  inOrder (most: number): T[] {
    const items = [...this.#ahead.values(most)]
    const lanes = [...this.#turns.values(most)].map(lane => ({ values: lane.items.values(most), left: lane.left, weight: this.#weightOf(lane.domain) }))
    for (let lane = lanes.shift(); lane !== undefined && items.length < most; lane = lanes.shift()) {
      const next = lane.values.next()
      if (next.done === true) continue
      items.push(next.value)
      if (--lane.left > 0) lanes.unshift(lane)
      else lanes.push({ ...lane, left: lane.weight })
    }
    if (this.#behind !== null && items.length < most) items.push(...this.#behind.inOrder(most - items.length))
    return items
  }

  #lane (domain: string): Lane<T> {
    const known = this.#lanes.get(domain)
    if (known !== undefined) return known
    const lane: Lane<T> = { domain, items: new Chain<T>(), turn: null, left: this.#weightOf(domain) }
    lane.turn = this.#turns.append(lane)
    this.#lanes.set(domain, lane)
    return lane
  }

  #placeOf (chain: Chain<T>, link: Link<T>, lane: Lane<T> | null): Place {
    this.#size++
    return {
      leave: () => {
        if (!chain.remove(link)) return false
        this.#size--
        if (lane !== null && lane.items.first === null) this.#close(lane)
        return true
      }
    }
  }

  #close (lane: Lane<T>): void {
    this.#lanes.delete(lane.domain)
    if (lane.turn !== null) this.#turns.remove(lane.turn)
  }
}

/** @returns from `leave`: false when the item had left before */
export interface Place { leave (): boolean }

/** `left`: calls of its turn that are to come. */
interface Lane<T> { readonly domain: string, readonly items: Chain<T>, turn: Link<Lane<T>> | null, left: number }

interface Link<T> { readonly value: T, before: Link<T> | null, after: Link<T> | null, linked: boolean }

/** A doubly linked list: an Array shifts and a Set skips its deleted entries, both in O(n). */
class Chain<T> {
  first: Link<T> | null = null
  #last: Link<T> | null = null

  append (value: T): Link<T> {
    const link: Link<T> = { value, before: this.#last, after: null, linked: true }
    if (this.#last === null) this.first = link
    else this.#last.after = link
    this.#last = link
    return link
  }

  * values (most: number): Generator<T, void> {
    let link = this.first
    for (let at = 0; at < most && link !== null; at++, link = link.after) yield link.value
  }

  /** @returns false when the link had been removed before */
  remove (link: Link<T>): boolean {
    if (!link.linked) return false
    link.linked = false
    if (link.before === null) this.first = link.after
    else link.before.after = link.after
    if (link.after === null) this.#last = link.before
    else link.after.before = link.before
    return true
  }
}
