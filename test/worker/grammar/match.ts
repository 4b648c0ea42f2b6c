/** GBNF as llama.cpp understands it, for tests: reads a grammar, matches texts, and wanders through it. */

export type Draw = () => number
type Ranges = [number, number][]
type Element = { set: Ranges } | { rule: string }
/** A sequence as a linked list, so that a place in it is a value. */
interface Step { readonly element: Element, readonly next: Step | null }

const MAX_TIMES = 2000

/** @throws Error where llama.cpp would refuse the text, or would silently read something else */
export class Gbnf {
  readonly #rules = new Map<string, Element[][]>()
  readonly #steps = new Map<string, (Step | null)[]>()
  readonly #depths: ReadonlyMap<string, number>
  #count = 0

  constructor (text: string) {
    for (const line of text.trimEnd().split('\n')) {
      const [, name, body] = /^([a-zA-Z0-9-]+) ::= (.+)$/s.exec(line) ?? []
      if (name === undefined) throw new Error(`no rule: ${line}`)
      if (this.#rules.has(name)) throw new Error(`twice: ${name}`)
      this.#rules.set(name, [])
      this.#rules.set(name, this.#choice(name, body!))
    }
    for (const choice of this.#rules.values()) {
      for (const element of choice.flat()) if ('rule' in element && !this.#rules.has(element.rule)) throw new Error(`undefined: ${element.rule}`)
    }
    this.#refuseLeftRecursion()
    for (const [name, choice] of this.#rules) this.#steps.set(name, choice.map(linked))
    this.#depths = this.#shortest()
  }

  get size (): number { return this.#rules.size }

  #choice (name: string, body: string): Element[][] {
    const choice: Element[][] = [[]]
    const points = [...body]
    let at = 0
    let last: Element[] = []
    let isRepeated = true
    const add = (elements: Element[]): void => {
      choice.at(-1)!.push(...elements)
      last = elements
      isRepeated = false
    }
    while (at < points.length) {
      const point = points[at]!
      if (point === ' ') at++
      else if (point === '|') { choice.push([]); at++; isRepeated = true } else if (point === '"') {
        const elements: Element[] = []
        for (at++; points[at] !== '"';) {
          const [code, end] = character(points, at)
          elements.push({ set: [[code, code]] })
          at = end
        }
        at++
        add(elements)
      } else if (point === '[') {
        const set: Ranges = []
        if (points[at + 1] === '^') throw new Error('a negated class does not exclude what is cut in the middle')
        for (at++; points[at] !== ']';) {
          const [first, end] = character(points, at)
          at = end
          if (points[at] !== '-') { set.push([first, first]); continue }
          const [second, after] = character(points, at + 1)
          at = after
          set.push([first, second])
        }
        if (set.length === 0) throw new Error('an empty class')
        at++
        add([{ set }])
      } else if (/[a-zA-Z0-9-]/.test(point)) {
        const end = points.findIndex((other, i) => i > at && !/[a-zA-Z0-9-]/.test(other))
        add([{ rule: points.slice(at, end < 0 ? points.length : end).join('') }])
        at = end < 0 ? points.length : end
      } else {
        const [whole, least, comma, most] = /^(?:\*|\+|\?|\{(\d+)(,?)(\d*)\})/.exec(points.slice(at, at + 16).join('')) ?? []
        if (whole === undefined) throw new Error(`cannot read ${body.slice(at, at + 20)}`)
        if (isRepeated || last.length === 0) throw new Error(`nothing to repeat at ${whole}`)
        at += whole.length
        const low = whole === '+' ? 1 : Number(least ?? 0)
        const high = whole === '?' ? 1 : least === undefined || (comma === ',' && most === '') ? Infinity : comma === '' ? low : Number(most)
        if (low > high || low > MAX_TIMES || (high !== Infinity && high > MAX_TIMES)) throw new Error(`repeats too often: ${whole}`)
        choice.at(-1)!.splice(choice.at(-1)!.length - last.length)
        choice.at(-1)!.push(...this.#repeated(name, last, low, high))
        isRepeated = true
      }
    }
    return choice
  }

  /** As llama.cpp unrolls it. */
  #repeated (name: string, item: Element[], least: number, most: number): Element[] {
    const elements = Array.from({ length: least }, () => item).flat()
    let rest: Element | null = null
    for (let i = 0; i < (most === Infinity ? 1 : most - least); i++) {
      const rule = `${name}_${this.#count++}`
      const more: Element[] = most === Infinity ? [{ rule }] : rest === null ? [] : [rest]
      this.#rules.set(rule, [[...item, ...more], []])
      rest = { rule }
    }
    return rest === null ? elements : [...elements, rest]
  }

  #refuseLeftRecursion (): void {
    const empty = this.#emptyRules()
    const done = new Set<string>()
    const open = new Set<string>()
    const visit = (name: string): void => {
      if (open.has(name)) throw new Error(`left recursion: ${name}`)
      if (done.has(name)) return
      open.add(name)
      for (const sequence of this.#rules.get(name)!) {
        for (const element of sequence) {
          if (!('rule' in element)) break
          visit(element.rule)
          if (!empty.has(element.rule)) break
        }
      }
      open.delete(name)
      done.add(name)
    }
    for (const name of this.#rules.keys()) visit(name)
  }

  #emptyRules (): Set<string> {
    const empty = new Set<string>()
    for (let size = -1; size !== empty.size;) {
      size = empty.size
      for (const [name, choice] of this.#rules) {
        if (choice.some(sequence => sequence.every(element => 'rule' in element && empty.has(element.rule)))) empty.add(name)
      }
    }
    return empty
  }

  matches (text: string): boolean {
    let places = this.#open([[this.#start()]])
    for (const point of text) {
      places = this.#advance(places, point)
      if (places.length === 0) return false
    }
    return places.some(place => place.length === 0)
  }

  /** How many ways are open at most while the text is read: each costs time with a real vocabulary. */
  widest (text: string): number {
    let places = this.#open([[this.#start()]])
    let widest = places.length
    for (const point of text) {
      places = this.#advance(places, point)
      widest = Math.max(widest, places.length)
    }
    return widest
  }

  #advance (places: readonly Step[][], point: string): Step[][] {
    const code = point.codePointAt(0)!
    return this.#open(places.flatMap(place => {
      const top = place.at(-1)
      if (top === undefined || !('set' in top.element) || !top.element.set.some(([first, last]) => first <= code && code <= last)) return []
      return [top.next === null ? place.slice(0, -1) : [...place.slice(0, -1), top.next]]
    }))
  }

  #start (): Step { return { element: { rule: 'root' }, next: null } }

  /** Follows rules until a character is due, or the end. */
  #open (places: readonly Step[][]): Step[][] {
    const open = new Map<string, Step[]>()
    const seen = new Set<string>()
    const queue = [...places]
    for (let place = queue.pop(); place !== undefined; place = queue.pop()) {
      const key = place.map(idOf).join()
      if (seen.has(key)) continue
      seen.add(key)
      const top = place.at(-1)
      if (top === undefined || 'set' in top.element) { open.set(key, place); continue }
      const below = top.next === null ? place.slice(0, -1) : [...place.slice(0, -1), top.next]
      for (const step of this.#steps.get(top.element.rule)!) queue.push(step === null ? below : [...below, step])
    }
    return [...open.values()]
  }

  /** How deep the shallowest derivation of each rule is. */
  #shortest (): Map<string, number> {
    const depths = new Map<string, number>()
    for (let isChanged = true; isChanged;) {
      isChanged = false
      for (const [name, choice] of this.#rules) {
        const depth = 1 + Math.min(...choice.map(sequence => depthOf(sequence, depths)))
        if (depth < (depths.get(name) ?? Infinity)) {
          depths.set(name, depth)
          isChanged = true
        }
      }
    }
    for (const name of this.#rules.keys()) if (!depths.has(name)) throw new Error(`never ends: ${name}`)
    return depths
  }

  /** A text that the grammar allows, drawn at random; after `budget` rules it takes the shortest way out. */
  wander (draw: Draw, budget = 200): string {
    let text = ''
    let left = budget
    const stack: Element[] = [{ rule: 'root' }]
    for (let element = stack.pop(); element !== undefined; element = stack.pop()) {
      if ('set' in element) { text += String.fromCodePoint(pick(element.set, draw)); continue }
      const choice = this.#rules.get(element.rule)!
      const sequence = left-- > 0
        ? choice[Math.floor(draw() * choice.length)]!
        : choice.reduce((best, other) => depthOf(other, this.#depths) < depthOf(best, this.#depths) ? other : best)
      for (let i = sequence.length - 1; i >= 0; i--) stack.push(sequence[i]!)
    }
    return text
  }
}

function depthOf (sequence: readonly Element[], depths: ReadonlyMap<string, number>): number {
  return sequence.reduce((most, element) => Math.max(most, 'rule' in element ? depths.get(element.rule) ?? Infinity : 0), 0)
}

function linked (sequence: readonly Element[]): Step | null {
  return sequence.reduceRight<Step | null>((next, element) => ({ element, next }), null)
}

const ids = new WeakMap<Step, number>()
let steps = 0
function idOf (step: Step): number {
  let id = ids.get(step)
  if (id === undefined) ids.set(step, id = steps++)
  return id
}

/** Mostly something short and plain; now and then anything. */
function pick (set: Ranges, draw: Draw): number {
  const [first, last] = set[Math.floor(draw() * set.length)]!
  const span = draw() < 0.8 ? Math.min(last, first + 90) : last
  return first + Math.floor(draw() * (span - first + 1))
}

const ESCAPED: Readonly<Record<string, number>> = { t: 9, r: 13, n: 10, '\\': 92, '"': 34, '[': 91, ']': 93, '-': 45 }

function character (points: readonly string[], at: number): [code: number, end: number] {
  const point = points[at]
  if (point === undefined) throw new Error('unexpected end')
  if (point !== '\\') return [point.codePointAt(0)!, at + 1]
  const letter = points[at + 1]!
  const length = { x: 2, u: 4, U: 8 }[letter]
  if (length === undefined) {
    if (ESCAPED[letter] === undefined) throw new Error(`unknown escape \\${letter}`)
    return [ESCAPED[letter], at + 2]
  }
  const digits = points.slice(at + 2, at + 2 + length).join('')
  if (!/^[0-9A-Fa-f]+$/.test(digits) || digits.length !== length) throw new Error(`bad escape \\${letter}${digits}`)
  return [parseInt(digits, 16), at + 2 + length]
}
