/** The Dockerfile as a list of instructions. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '../..')

export interface Instruction { readonly name: string, readonly words: string }

export const instructions: readonly Instruction[] = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll(/\\\n\s*/g, '')
  .split('\n')
  .filter(line => line.trim() !== '')
  .map(line => ({ name: /^\w+/.exec(line)![0], words: line.replace(/^\w+\s+/, '') }))

/** What stands behind every instruction of this name, in order. */
export function wordsOf (name: string): string[] {
  return instructions.filter(instruction => instruction.name === name).map(({ words }) => words)
}

/** What comes from the repository: its path there -> its path in the image. A path that ends in `/` is a folder to put it into. */
export function copied (): Map<string, string> {
  const fromHere = wordsOf('COPY').filter(words => !words.startsWith('--from'))
  return new Map(fromHere.flatMap(words => {
    const paths = words.split(/\s+/)
    const to = paths.pop()!
    return paths.map(path => [path, to.endsWith('/') ? `${to}${path.split('/').at(-1)}` : to])
  }))
}
