import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'

export type FreeBytes = (folder: string) => Promise<number>

/** Left free for the database and the log, which lie on the same disk. */
const RESERVE_BYTES = 128 * 1024 * 1024

/** @throws Error with both numbers when `bytes` more would fill the disk that `path` lies on */
export async function assertSpace (path: string, bytes: number, freeBytes: FreeBytes = freeBytesOf): Promise<void> {
  const folder = dirname(path)
  const free = await freeBytes(folder)
  if (bytes + RESERVE_BYTES <= free) return
  throw new Error(`${folder}: ${shown(bytes)} more are needed and ${shown(RESERVE_BYTES)} are kept in reserve, but ${shown(free)} are free.`)
}

async function freeBytesOf (folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB']

/** As disks and hubs count: 1 GB is 1000 MB. */
export function shown (bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${UNITS[power]}`
}
