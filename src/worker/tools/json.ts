/** Where JSON values end and begin, in text that a model wrote. */

/** Follows one object or array that arrives in pieces to its last bracket. What stands between is not judged. */
export class JsonEnd {
  readonly #open: string[] = []
  #length = 0
  #isInString = false
  #isEscaped = false
  #end: number | 'broken' | null = null

  /** Length up to and with the last bracket, null while it is not there, or `broken` when brackets do not match. */
  get end (): number | 'broken' | null { return this.#end }

  /** @param piece the first one begins with the first bracket */
  push (piece: string): void {
    for (let at = 0; at < piece.length && this.#end === null; at++) this.#read(piece[at]!, this.#length + at + 1)
    this.#length += piece.length
  }

  #read (character: string, length: number): void {
    if (this.#isEscaped) this.#isEscaped = false
    else if (this.#isInString) {
      this.#isEscaped = character === '\\'
      this.#isInString = character !== '"'
    } else if (character === '"') this.#isInString = true
    else if (character === '{' || character === '[') this.#open.push(character === '{' ? '}' : ']')
    else if (character === '}' || character === ']') {
      if (this.#open.pop() !== character) this.#end = 'broken'
      else if (this.#open.length === 0) this.#end = length
    }
  }
}

export interface Member {
  /** Null in an array. */
  readonly name: string | null
  /** As it was written. Numbers of any size survive, which they would not in a value that was parsed. */
  readonly json: string
}

/** @param json a valid object or array */
export function membersOf (json: string): Member[] {
  const members: Member[] = []
  let name: string | null = null
  let from = json.search(/[[{]/) + 1
  let depth = 0
  const take = (to: number): void => {
    const value = json.slice(from, to).trim()
    if (value !== '') members.push({ name, json: value })
    name = null
    from = to + 1
  }
  for (let at = from; at < json.length; at++) {
    const character = json[at]!
    if (character === '"') at = endOfString(json, at)
    else if (character === '{' || character === '[') depth++
    else if (character === '}' || character === ']') {
      if (depth-- > 0) continue
      take(at)
      break
    } else if (character === ',' && depth === 0) take(at)
    else if (character === ':' && depth === 0) {
      name = JSON.parse(json.slice(from, at)) as string
      from = at + 1
    }
  }
  return members
}

/** @returns the index of the closing quote */
function endOfString (json: string, quote: number): number {
  let at = quote + 1
  while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1
  return at
}
