/** Transcripts in test/golden, byte by byte. `UPDATE_GOLDEN=1` records anew; look at the difference before keeping it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'

const RECORDS = process.env['UPDATE_GOLDEN'] === '1'

/** Compares what was said with what is recorded under test/golden/`folder`, and the files that are there with the names that are asked. */
export function compare (t: Test, folder: string, transcripts: ReadonlyMap<string, string>): void {
  const at = join(import.meta.dirname, '../golden', folder)
  if (RECORDS) mkdirSync(at, { recursive: true })
  for (const [name, transcript] of transcripts) {
    const file = join(at, `${name}.txt`)
    const said = settled(transcript)
    if (RECORDS) writeFileSync(file, said)
    t.equal(said, existsSync(file) ? readFileSync(file, 'utf8') : 'not recorded: UPDATE_GOLDEN=1', `${folder}/${name}`)
  }
  t.strictSame(readdirSync(at).map(file => file.replace(/\.txt$/, '')).toSorted(), [...transcripts.keys()].toSorted(), 'and nothing is recorded that is not asked')
}

/** One answer as it came: status, what kind, what the gateway warns of, and all of the body. */
export async function heard (answer: Response): Promise<string> {
  const warning = answer.headers.get('x-torchgate-warning')
  return `${answer.status} ${answer.headers.get('content-type')}\n${warning === null ? '' : `x-torchgate-warning: ${warning}\n`}\n${await answer.text()}`
}

/** What is drawn or timed, as what it is; the same id always under the same name. */
function settled (said: string): string {
  const names = new Map<string, string>()
  const named = (id: string, prefix: string): string => names.get(id) ?? (names.set(id, `${prefix}${names.size}`), names.get(id)!)
  return said
    .replaceAll(/\b((?:resp|msg|rs|fc|ctc|cmp|call)_)[0-9a-f]{48,52}\b/g, named)
    .replaceAll(/\b((?:chatcmpl|cmpl)-|(?:req|msg|call|toolu)_)[0-9A-Za-z]{22,36}\b/g, named)
    .replaceAll(/"(created_at|completed_at|created)":\d{10}/g, '"$1":0')
    .replaceAll(/"tgs1\.[\w-]+"/g, '"SEALED"')
}
