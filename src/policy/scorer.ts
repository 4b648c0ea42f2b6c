/** Scorers as files: what `torchgate route train` writes and a configuration names. */
import { readFileSync } from 'node:fs'
import { FEATURE_NAMES, type Feature, type Scorer } from './complexity.ts'

/** Of the file; another means another meaning of its members. */
const FORMAT = 'torchgate-scorer-1'
const MAX_BYTES = 1_048_576

export function scorerText (scorer: Scorer): string {
  return `${JSON.stringify({ format: FORMAT, ...scorer }, null, 2)}\n`
}

/** @throws Error that names the file and what is wrong with it */
export function readScorer (path: string): Scorer {
  const text = readFileSync(path, 'utf8')
  if (text.length > MAX_BYTES) throw new Error(`${path}: expected a scorer of ${MAX_BYTES} bytes at most, got ${text.length}.`)
  const value = parsed(text, path)
  if (!isObject(value) || value['format'] !== FORMAT) throw new Error(`${path}: expected a scorer of the format ${FORMAT}, as torchgate route train writes it.`)
  const { name, intercept, features } = value
  if (typeof name !== 'string' || !Number.isFinite(intercept) || !Array.isArray(features)) throw new Error(`${path}: expected a name, an intercept and features.`)
  return { name, intercept: intercept as number, features: features.map((feature, index) => featureOf(feature, `${path}: features[${index}]`)) }
}

function featureOf (value: unknown, place: string): Scorer['features'][number] {
  if (!isObject(value)) throw new Error(`${place}: expected an object.`)
  const { name, weight, mean, deviation } = value
  if (!FEATURE_NAMES.includes(name as Feature)) throw new Error(`${place}.name: expected one of ${FEATURE_NAMES.join(', ')}.`)
  for (const [member, number] of Object.entries({ weight, mean, deviation })) {
    if (!Number.isFinite(number)) throw new Error(`${place}.${member}: expected a number.`)
  }
  if ((deviation as number) <= 0) throw new Error(`${place}.deviation: expected a number above 0.`)
  return { name: name as Feature, weight: weight as number, mean: mean as number, deviation: deviation as number }
}

function parsed (text: string, path: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Error(`${path}: expected JSON.`, { cause: error })
  }
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
