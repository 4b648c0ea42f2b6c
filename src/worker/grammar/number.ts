/** Numbers as JSON text, held to their bounds digit by digit. */
import { charsOf } from './ranges.ts'
import { chars, text, type Choice, type Rule, type Sequence } from './gbnf.ts'
import type { Rules } from './rules.ts'

export interface Bound { readonly value: number, readonly isExclusive: boolean }

/** Digits before the point of a number without a bound; JSON.stringify changes to exponents at 22. */
export const MAX_WHOLE_DIGITS = 21
/** Decimals of fewer digits in all are told apart by the floating-point numbers that they are read as. */
const EXACT_DIGITS = 15

const DIGIT = chars(charsOf('0-9'))
const digitsUpTo = (most: number): Sequence => most === 0 ? [] : [{ kind: 'times', of: DIGIT, least: 0, most }]
const digitsExactly = (count: number): Sequence => count === 0 ? [] : [{ kind: 'times', of: DIGIT, least: count, most: count }]

/** Every finite number, up to 9.99…e307. A mantissa of several digits before the point has no exponent. */
export function anyNumber (rules: Rules): Rule {
  const dash: Sequence = [{ kind: 'times', of: text('-'), least: 0, most: 1 }]
  const fraction: Sequence = [{ kind: 'times', of: rules.rule('fraction', [[text('.'), { kind: 'times', of: DIGIT, least: 1, most: 22 }]]), least: 0, most: 1 }]
  const upTo307: Choice = [
    [{ kind: 'times', of: DIGIT, least: 1, most: 2 }],
    [chars(charsOf('12')), DIGIT, DIGIT],
    [text('30'), chars(charsOf('0-7'))]
  ]
  const power = rules.rule('power', [
    [text('-'), { kind: 'times', of: DIGIT, least: 1, most: 3 }],
    ...[[text('+')], []].flatMap(sign => upTo307.map(digits => [...sign, ...digits]))
  ])
  const exponent: Sequence = [{ kind: 'times', of: rules.rule('exponent', [[chars(charsOf('Ee')), power]]), least: 0, most: 1 }]
  return rules.rule('number', [
    [...dash, DIGIT, ...fraction, ...exponent],
    [...dash, chars(charsOf('1-9')), { kind: 'times', of: DIGIT, least: 1, most: MAX_WHOLE_DIGITS - 1 }, ...fraction]
  ])
}

/** Integers from `least` to `most`, null for no bound. No sequence when there are none. */
export function integers (rules: Rules, least: bigint | null, most: bigint | null): Choice {
  const choice: Sequence[] = []
  if (least === null || least < 0n) {
    const nearest = most !== null && most < 0n ? -most : 1n
    choice.push(...naturals(rules, nearest, least === null ? null : -least).map(sequence => [text('-'), ...sequence]))
  }
  if (most === null || most >= 0n) choice.push(...naturals(rules, least === null || least < 0n ? 0n : least, most))
  return choice
}

/** @param most null for any number of digits that is usual */
function naturals (rules: Rules, least: bigint, most: bigint | null): Sequence[] {
  if (most !== null && least > most) return []
  const low = String(least)
  const choice: Sequence[] = []
  if (most === null) {
    const more = Math.max(MAX_WHOLE_DIGITS, low.length) - low.length
    choice.push(...sameLength(rules, low, '9'.repeat(low.length)))
    if (more > 0) choice.push([chars(charsOf('1-9')), { kind: 'times', of: DIGIT, least: low.length, most: low.length + more - 1 }])
    return choice
  }
  const high = String(most)
  if (low.length === high.length) return sameLength(rules, low, high)
  choice.push(...sameLength(rules, low, '9'.repeat(low.length)))
  if (high.length - low.length > 1) choice.push([chars(charsOf('1-9')), { kind: 'times', of: DIGIT, least: low.length, most: high.length - 2 }])
  choice.push(...sameLength(rules, '1' + '0'.repeat(high.length - 1), high))
  return choice
}

function sameLength (rules: Rules, low: string, high: string): Sequence[] {
  return walk(rules, low, high, low.length, WHOLE)
}

/** A bound of which digits are left: null when the digits so far keep within it, whatever follows. */
type Left = string | null

/** What digits mean to the bounds: before the point or after it. */
interface Place {
  readonly low: (left: string) => Left
  readonly high: (left: string) => Left
  /** May the digits end where so much of the bounds is left? */
  readonly mayEnd: (low: Left, high: Left, count: number) => boolean
  /** What may follow once both bounds are kept. */
  readonly free: (count: number) => Sequence
}

const WHOLE: Place = {
  low: left => /^0*$/.test(left) ? null : left,
  high: left => /^9*$/.test(left) ? null : left,
  mayEnd: () => false,
  free: digitsExactly
}

/** Digits, `count` at most, between two strings of digits. */
function walk (rules: Rules, low: Left, high: Left, count: number, place: Place): Sequence[] {
  if (low === null && high === null) return [place.free(count)]
  const choice: Sequence[] = place.mayEnd(low, high, count) ? [[]] : []
  if (count === 0 || high === '') return choice
  const last = high === null ? 9 : Number(high[0])
  let digit = low === null ? 0 : Number(low[0] ?? 0)
  while (digit <= last) {
    const [nextLow, nextHigh] = after(digit, low, high, place)
    let to = digit
    while (to < last && isAlike(after(to + 1, low, high, place), nextLow, nextHigh)) to++
    const rest = walk(rules, nextLow, nextHigh, count - 1, place)
    if (rest.length > 0) choice.push([chars(charsOf(`${digit}-${to}`)), ...rules.choice('digits', rest)])
    digit = to + 1
  }
  return choice
}

function after (digit: number, low: Left, high: Left, place: Place): [low: Left, high: Left] {
  return [
    low !== null && digit === Number(low[0] ?? 0) ? place.low(low.slice(1)) : null,
    high !== null && digit === Number(high[0]) ? place.high(high.slice(1)) : null
  ]
}

function isAlike ([low, high]: readonly [Left, Left], otherLow: Left, otherHigh: Left): boolean { return low === otherLow && high === otherHigh }

/**
 * Numbers between two bounds, null for none, without exponents.
 * @param fractionDigits at most after the point
 */
export function numbers (rules: Rules, least: Bound | null, most: Bound | null, fractionDigits: number): Choice {
  const low = least === null ? null : decimal(included(least, 1))
  const high = most === null ? null : decimal(included(most, -1))
  const whole = Math.max(digitsBefore(low), digitsBefore(high))
  const digits = Math.min(fractionDigits, Math.max(0, EXACT_DIGITS - whole))
  return new Between(rules, digits).signed(low, high)
}

/**
 * A bound of so many digits that texts beside it may be read as the bound itself: what is excluded ends at the next
 * number that can be told from it.
 * @param direction 1 for lower bounds
 */
export function included ({ value, isExclusive }: Bound, direction: 1 | -1): Bound {
  if (!isExclusive || Math.abs(value) < 10 ** EXACT_DIGITS) return { value, isExclusive }
  const bits = new BigInt64Array(Float64Array.of(value).buffer)
  bits[0]! += value * direction > 0 ? 1n : -1n
  return { value: new Float64Array(bits.buffer)[0]!, isExclusive: false }
}

interface Decimal { readonly isNegative: boolean, readonly whole: string, readonly fraction: string, readonly isExclusive: boolean }

function digitsBefore (bound: Decimal | null): number {
  return bound === null || bound.whole === '0' || bound.whole.length > MAX_WHOLE_DIGITS ? 0 : bound.whole.length
}

/** Exactly the number that JSON.stringify writes. */
function decimal ({ value, isExclusive }: Bound): Decimal {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value))!
  const shift = Number(exponent)
  const digits = whole! + fraction
  const point = whole!.length + shift
  const padded = point <= 0 ? '0'.repeat(1 - point) + digits : digits.padEnd(point, '0')
  const at = Math.max(1, point)
  return { isNegative: sign === '-', whole: padded.slice(0, at).replace(/^0+(?=\d)/, ''), fraction: padded.slice(at).replace(/0+$/, ''), isExclusive }
}

const ZERO: Decimal = { isNegative: false, whole: '0', fraction: '', isExclusive: false }
const isZero = ({ whole, fraction }: Decimal): boolean => whole === '0' && fraction === ''

class Between {
  readonly #rules: Rules
  readonly #digits: number

  constructor (rules: Rules, digits: number) {
    this.#rules = rules
    this.#digits = digits
  }

  signed (low: Decimal | null, high: Decimal | null): Sequence[] {
    const choice: Sequence[] = []
    if (low === null || low.isNegative) {
      const nearest = high !== null && (high.isNegative || isZero(high)) ? high : { ...ZERO, isExclusive: true }
      choice.push(...this.#unsigned({ ...nearest, isExclusive: nearest.isExclusive || isZero(nearest) }, low).map(sequence => [text('-'), ...sequence]))
    }
    if (high === null || !high.isNegative) choice.push(...this.#unsigned(low === null || low.isNegative ? ZERO : low, high))
    return choice
  }

  /** Bounds of any sign, taken without it. With more decimals than are written, they lie between two of those. */
  #unsigned (lower: Decimal, upper: Decimal | null): Sequence[] {
    const low = this.#cut(lower, true)
    const high = upper === null ? null : this.#cut(upper, false)
    if (low.whole.length > MAX_WHOLE_DIGITS) return []
    if (high === null || high.whole.length > MAX_WHOLE_DIGITS) {
      return [...this.#within(low, null), ...naturals(this.#rules, BigInt(low.whole) + 1n, null).map(whole => [...whole, ...this.#anyFraction()])]
    }
    const [from, to] = [BigInt(low.whole), BigInt(high.whole)]
    if (from > to) return []
    if (from === to) return this.#within(low, high)
    const between = naturals(this.#rules, from + 1n, to - 1n).map(whole => [...whole, ...this.#anyFraction()])
    return [...this.#within(low, null), ...between, ...this.#within(null, high)]
  }

  #cut (bound: Decimal, isExclusive: boolean): Decimal {
    return bound.fraction.length <= this.#digits ? bound : { ...bound, fraction: bound.fraction.slice(0, this.#digits).replace(/0+$/, ''), isExclusive }
  }

  /** Numbers with the whole part of the bounds. */
  #within (low: Decimal | null, high: Decimal | null): Sequence[] {
    const { whole } = (low ?? high)!
    const isFreeBelow = low === null || (low.fraction === '' && !low.isExclusive)
    const place: Place = {
      low: left => left === '' && low?.isExclusive !== true ? null : left,
      high: left => left,
      mayEnd: (from, to) => from === null && (to !== '' || high?.isExclusive !== true),
      free: digitsUpTo
    }
    const from = isFreeBelow ? null : low.fraction
    const to = high === null ? null : high.fraction
    const choice: Sequence[] = place.mayEnd(from, to, 0) ? [[text(whole)]] : []
    const fractions = walk(this.#rules, from, to, this.#digits, place).filter(sequence => sequence.length > 0)
    return fractions.length === 0 ? choice : [...choice, ...this.#pointed(whole, from, to, fractions)]
  }

  #pointed (whole: string, low: Left, high: Left, fractions: Choice): Sequence[] {
    if (low === null && high === null) return [[text(whole + '.'), { kind: 'times', of: DIGIT, least: 1, most: this.#digits }]]
    return [[text(whole + '.'), ...this.#rules.choice('decimals', fractions)]]
  }

  #anyFraction (): Sequence {
    if (this.#digits === 0) return []
    return [{ kind: 'times', of: this.#rules.rule('decimals', [[text('.'), { kind: 'times', of: DIGIT, least: 1, most: this.#digits }]]), least: 0, most: 1 }]
  }
}
