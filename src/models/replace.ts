import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Writes a file so that a reader finds the old text or the new one, and after a power cut too. One writer at a time. */
export async function replaceFile (path: string, text: string): Promise<void> {
  const next = `${path}.next`
  const handle = await open(next, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await moveFile(next, path)
}

/** A rename that a power cut does not undo. */
export async function moveFile (from: string, to: string): Promise<void> {
  await rename(from, to)
  const folder = await open(dirname(to), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
